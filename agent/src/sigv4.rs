//! Floor 1: requests to Amazon's services, and to others that speak as they do, are signed (AWS Signature Version 4,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>).
//!
//! Pure: the time is told. The secret goes into the signature and nowhere else.

pub mod xml;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// A key: its id, and its secret.
#[derive(Clone)]
pub struct Keys {
    id: String,
    secret: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

impl Keys {
    /// Reads the text of a key file: the id and, on the next line, the secret.
    ///
    /// # Errors
    /// If it holds less.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            (Some(id), Some(secret)) => Ok(Self { id: id.into(), secret: secret.into() }),
            _ => {
                Err("access_key_file must hold the key's id and, on the next line, its secret"
                    .into())
            }
        }
    }
}

/// One request, as it is signed.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path, encoded as it is sent.
    pub path: &'a str,
    /// The query, encoded and in order of its keys; see [`query`].
    pub query: &'a str,
    /// Headers that are signed: names in lower case and in order, values without blanks at their ends. `host` and
    /// `x-amz-date` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, in hexadecimal.
    pub payload: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub at: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// Such as `s3`.
    pub service: &'a str,
}

impl Call<'_> {
    /// The value of the header `authorization`.
    #[must_use]
    pub fn authorization(&self, keys: &Keys) -> String {
        let Self { method, path, query, headers, payload, at, region, service } = self;
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let signed = names.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let call = format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}");
        let day = at.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256(call.as_bytes()));
        let key = mac(format!("AWS4{}", keys.secret).as_bytes(), day);
        let key = mac(&mac(&mac(&key, region), service), "aws4_request");
        let signature = hex(&mac(&key, &text));
        let id = &keys.id;
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `text` as it stands in a path or a query: everything but letters, digits and `-._~` as %XX. Slashes stay in paths.
#[must_use]
pub fn encoded(text: &str, keep_slashes: bool) -> String {
    let keep =
        |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || keep_slashes && b == b'/';
    text.bytes()
        .map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A query of these parameters, in the order and the encoding in which it is signed.
#[must_use]
pub fn query(parameters: &[(&str, &str)]) -> String {
    let mut pairs: Vec<_> = parameters
        .iter()
        .map(|(key, value)| (encoded(key, false), encoded(value, false)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// `get-vanilla` and `get-vanilla-query-order-key-case` of AWS's own test suite for Signature Version 4.
    #[test]
    fn calls_are_signed_as_in_amazons_test_suite() {
        let keys = Keys::read("AKIDEXAMPLE\nwJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n").unwrap();
        let at = "20150830T123600Z";
        let call = Call {
            method: "GET",
            path: "/",
            query: "",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", at)],
            payload: EMPTY,
            at,
            region: "us-east-1",
            service: "service",
        };
        let end = |call: Call| call.authorization(&keys).rsplit('=').next().unwrap().to_owned();
        assert_eq!(end(call), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        let query = query(&[("Param2", "value2"), ("Param1", "value1")]);
        assert_eq!(
            end(Call { query: &query, ..call }),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }

    /// The examples of "Authenticating Requests: Using the Authorization Header" in the API reference of Amazon S3.
    #[test]
    fn calls_are_signed_as_in_the_reference_of_s3() {
        let keys =
            Keys::read("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").unwrap();
        let at = "20130524T000000Z";
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let date = ("x-amz-date", at);
        let empty = ("x-amz-content-sha256", EMPTY);
        let end = |method, path: &str, query: &str, headers: &[(&str, &str)], payload: &str| {
            let (region, service) = ("us-east-1", "s3");
            let call = Call { method, path, query, headers, payload, at, region, service };
            call.authorization(&keys).rsplit('=').next().unwrap().to_owned()
        };
        assert_eq!(
            end("GET", "/test.txt", "", &[host, ("range", "bytes=0-9"), empty, date], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let body = sha256(b"Welcome to Amazon S3.");
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            host,
            ("x-amz-content-sha256", body.as_str()),
            date,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            end("PUT", &encoded("/test$file.text", true), "", &headers, &body),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            end("GET", "/", "lifecycle=", &[host, empty, date], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        let list = query(&[("prefix", "J"), ("max-keys", "2")]);
        assert_eq!(
            end("GET", "/", &list, &[host, empty, date], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn a_key_is_not_shown() {
        let keys = Keys::read("ID SECRET").unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(ID)");
        assert!(Keys::read("ID").is_err());
    }
}
