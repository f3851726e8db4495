//! Small writes in one piece.

use std::io::IoSlice;

/// Up to this many bytes are cheaper to copy than to hand over in pieces: writev(2) goes the long way
/// through the file system layer, send(2) does not.
const FLAT_MAX: usize = 2048;

/// What to give to a single write instead of a vectored one: the only piece, or all pieces copied
/// into `space`. `None` if they are too much to copy.
pub(crate) fn flatten<'a>(
    bufs: &'a [IoSlice<'a>],
    space: &'a mut [u8; FLAT_MAX],
) -> Option<&'a [u8]> {
    if let [only] = bufs {
        return Some(only);
    }
    let mut len = 0;
    for buf in bufs {
        space.get_mut(len..len + buf.len())?.copy_from_slice(buf);
        len += buf.len();
    }
    Some(&space[..len])
}

/// Space for [`flatten`].
pub(crate) const fn space() -> [u8; FLAT_MAX] {
    [0; FLAT_MAX]
}
