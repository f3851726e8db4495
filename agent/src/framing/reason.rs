//! Why a message was refused.

/// The rule that a message breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A line ends in LF without CR.
    #[error("a line ends without CR")]
    BareLf,
    /// A control byte (CR, NUL, …) where none may be.
    #[error("a control byte in the head")]
    ControlByte,
    /// The request line is not `method SP target SP HTTP/1.x`.
    #[error("the request line is malformed")]
    RequestLine,
    /// The request target is of no allowed form.
    #[error("the request target is malformed")]
    Target,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    #[error("the HTTP version is not supported")]
    Version,
    /// A status line that is malformed.
    #[error("the status line is malformed")]
    StatusLine,
    /// A header field folded over lines, or space before the first one.
    #[error("a header field begins with space (obsolete line folding)")]
    ObsFold,
    /// Space between a field name and the colon.
    #[error("space before the colon of a header field")]
    SpaceBeforeColon,
    /// A field name that is not a token, or no colon.
    #[error("a header field name is malformed")]
    FieldName,
    /// `Content-Length` that is not a plain number.
    #[error("Content-Length is not a number")]
    ContentLength,
    /// More than one `Content-Length`.
    #[error("more than one Content-Length")]
    DuplicateLength,
    /// `Transfer-Encoding` other than exactly `chunked`, or given twice, or where it may not be.
    #[error("Transfer-Encoding is not exactly one `chunked`")]
    TransferEncoding,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// No `Host`.
    #[error("the Host header is missing")]
    MissingHost,
    /// More than one `Host`.
    #[error("more than one Host header")]
    DuplicateHost,
    /// A `Host` that is not `name[:port]`.
    #[error("the Host header is malformed")]
    BadHost,
    /// The target names another host than `Host`.
    #[error("the request target and the Host header name different hosts")]
    HostMismatch,
    /// A malformed chunk.
    #[error("a chunk is malformed")]
    Chunk,
    /// A trailer field that would change framing or routing.
    #[error("a trailer field that may not be one")]
    Trailer,
    /// The head is larger than the limit, or has more fields.
    #[error("the head is too large")]
    HeadTooLarge,
    /// A body where the status allows none.
    #[error("a body where there may be none")]
    UnexpectedBody,
    /// Bytes that belong to no message.
    #[error("bytes after the end of the message")]
    UnexpectedBytes,
    /// `101 Switching Protocols` without a request for it.
    #[error("a switch of protocols that nobody asked for")]
    UnexpectedSwitch,
}
