//! Small writes in one piece.

use std::io::IoSlice;

/// Up to this many bytes are cheaper to copy than to hand over in pieces: writev(2) goes the long way
/// through the file system layer, send(2) does not.
const FLAT_MAX: usize = 2048;

/// What to give to a single write instead of a vectored one: all pieces, copied into `space`. `None` if they are too much to copy.
pub(crate) fn flatten<'a>(
    bufs: &'a [IoSlice<'a>],
    space: &'a mut [u8; FLAT_MAX],
) -> Option<&'a [u8]> {
    let mut len = 0;
    for buf in bufs {
        space.get_mut(len..len + buf.len())?.copy_from_slice(buf);
        len += buf.len();
    }
    Some(&space[..len])
}

/// Whether `bufs` are worth copying.
pub(crate) fn is_small(bufs: &[IoSlice<'_>]) -> bool {
    bufs.iter().map(|buf| buf.len()).sum::<usize>() <= FLAT_MAX
}

/// Space for [`flatten`].
pub(crate) const fn space() -> [u8; FLAT_MAX] {
    [0; FLAT_MAX]
}
