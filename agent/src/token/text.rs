//! The text of a token: `ten_<id>_<secret>`.
//!
//! ```text
//! ten_ k3v7q2m5x4wa _ 64 hexadecimal digits
//!      id: public,    secret: 256 random bits, never stored
//!      found by it
//! ```
//! The prefix lets scanners of source code recognise one that was published by mistake.

use std::fmt;

use subtle::ConstantTimeEq as _;
use tenement_wire::TokenId;

/// Bytes of a secret.
pub const SECRET_LEN: usize = 32;
const PREFIX: &str = "ten_";

/// The secret half of a token. It is shown by no formatter; [`Token::text`] alone writes it down.
#[derive(Clone)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// From random bytes.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, for what hashes them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A whole token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The public half.
    pub id: TokenId,
    /// The secret half.
    pub secret: Secret,
}

/// Why a text is no token. It says nothing of the text: that might be a secret of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this agent: those look like ten_<12 characters>_<64 hexadecimal digits>")]
pub struct NotAToken;

impl Token {
    /// Reads a token. Each has one text only: lower case, nothing around it.
    ///
    /// # Errors
    /// [`NotAToken`] if it is none.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let (id, secret) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NotAToken)?;
        let id = TokenId::new(id).map_err(|_| NotAToken)?;
        let digits: &[u8; 2 * SECRET_LEN] = secret.as_bytes().try_into().map_err(|_| NotAToken)?;
        let mut bytes = [0; SECRET_LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self { id, secret: Secret(bytes) })
    }

    /// The text, secret and all.
    #[must_use]
    pub fn text(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("{PREFIX}{}_", self.id);
        for byte in self.secret.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

fn digit(byte: u8) -> Result<u8, NotAToken> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotAToken),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_reads_back_and_has_one_text_only(
            id: [u8; 12], secret: [u8; SECRET_LEN], at in 0_usize..81, other in "\\PC"
        ) {
            let token = Token { id: TokenId::from_random(id), secret: Secret::new(secret) };
            let text = token.text();
            prop_assert_eq!(text.len(), 81);
            prop_assert_eq!(Token::parse(&text), Ok(token.clone()));
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if changed != text {
                prop_assert_ne!(Token::parse(&changed), Ok(token));
            }
            prop_assert!(Token::parse(&text.to_uppercase()).is_err());
            let longer = text + " ";
            prop_assert!(Token::parse(&longer).is_err());
        }

        #[test]
        fn what_is_taken_is_what_is_written(text in "(ten_)?[a-z2-9_]{0,14}_?[0-9a-fA-F]{60,66}|\\PC*") {
            if let Ok(token) = Token::parse(&text) {
                prop_assert_eq!(token.text(), text);
            }
        }
    }

    #[test]
    fn no_secret_gets_into_a_text_for_debugging() {
        let token = Token { id: TokenId::from_random([1; 12]), secret: Secret::new([0xab; 32]) };
        let shown = format!("{token:?}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
        assert!(!NotAToken.to_string().contains("abab"));
    }
}
