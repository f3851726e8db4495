//! The reader of tokens: what it takes has one text only, and that is the one it was given.
#![no_main]

use tenement_agent::token::{Token, hash};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Garbage is mostly refused at its first byte: try it behind a good beginning, too.
    for text in [text.to_owned(), format!("ten_{text}"), format!("ten_k3v7q2m5x4wa_{text}")] {
        let Ok(token) = Token::parse(&text) else { continue };
        assert_eq!(token.text(), text);
        assert_eq!(text.len(), 81);
        assert!(hash::passes(&token.secret, &hash::check(&token.secret)));
        assert!(!format!("{token:?}").contains(&text[17..]));
    }
});
