//! The scanner of what clients send: the verdict must not depend on how the bytes were cut.
#![no_main]

use tenement_agent::framing::{RequestLimits, RequestScanner};

/// All of `input` in pieces of `step` bytes: whether it was taken, and how many bytes were read.
fn scan(input: &[u8], step: usize) -> Option<usize> {
    let mut scanner = RequestScanner::new(RequestLimits { bytes: 8192, fields: 50 });
    let mut read = 0;
    for piece in input.chunks(step) {
        let taken = scanner.feed(piece).ok()?;
        assert!(taken <= piece.len(), "more was read than there was");
        read += taken;
        if taken < piece.len() {
            break;
        }
    }
    Some(read)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((step, input)) = data.split_first() else { return };
    let whole = scan(input, input.len().max(1));
    assert_eq!(scan(input, usize::from(*step).max(1)), whole);
});
