//! The terminal that we sit at.

use std::io::{stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tenement_wire::tasks::TerminalSize;

/// How large it is, if it is one.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    let size = TerminalSize { rows: size.ws_row, columns: size.ws_col };
    (size.rows > 0 && size.columns > 0).then_some(size)
}

/// Every key goes to the command as it is, until this is dropped: the other terminal does what is to be done.
pub(super) struct Raw(Termios);

impl Raw {
    /// None if standard input is no terminal.
    pub(super) fn enter() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}
