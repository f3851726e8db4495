//! The scanner of what apps send: the verdict must not depend on how the bytes were cut.
#![no_main]

use tenement_agent::framing::ResponseScanner;

fn accepted(input: &[u8], step: usize, mode: u8) -> bool {
    let mut scanner = ResponseScanner::new();
    scanner.expect(mode & 1 != 0, mode & 2 != 0);
    input.chunks(step).all(|piece| scanner.feed(piece).is_ok())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [step, mode, input @ ..] = data else { return };
    let whole = accepted(input, input.len().max(1), *mode);
    assert_eq!(accepted(input, usize::from(*step).max(1), *mode), whole);
});
