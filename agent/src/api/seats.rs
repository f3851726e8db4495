//! Who may wait: answers that come only when something has happened (`?wait=`).
//!
//! A wait works on nothing, so it gives back what it holds of the [gate](super::gate); instead it takes one of
//! these seats. One token gets a few of them. Callers on the admin socket, who may do everything, need none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;
use tenement_wire::TokenId;

use super::access::Caller;
use super::gate::Turn;
use super::problem::Problem;

/// Waits at once, of all tokens.
const SEATS: usize = 96;
/// Waits at once of one token.
const PER_TOKEN: usize = 12;

/// The seats; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<TokenId, usize>>>);

/// Whoever might wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiter {
    seats: Seats,
    token: Option<TokenId>,
    turn: Option<Turn>,
}

/// A seat, until dropped.
#[derive(Debug)]
pub(super) struct Seat(Waiter);

impl Waiter {
    /// Whoever sent the request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        let token = match extensions.get::<Caller>() {
            Some(Caller::Token(grant)) => Some(grant.id.clone()),
            _ => None,
        };
        let seats = extensions.get::<Seats>().cloned().unwrap_or_default();
        Self { seats, token, turn: extensions.get::<Turn>().cloned() }
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// If there is none left for this token.
    pub fn seat(&self) -> Result<Seat, Problem> {
        if let Some(token) = &self.token {
            let mut taken = self.seats.lock();
            let own = taken.get(token).copied().unwrap_or_default();
            if own >= PER_TOKEN || taken.values().sum::<usize>() >= SEATS {
                return Err(Problem::too_many_waits());
            }
            taken.insert(token.clone(), own + 1);
        }
        Ok(Seat(self.clone()))
    }
}

impl Seats {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, usize>> {
        // Counting can't panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// From here on there is only waiting: others may work.
    pub fn rest(&self) {
        if let Some(turn) = &self.0.turn {
            turn.give_back();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(token) = &self.0.token else { return };
        let mut taken = self.0.seats.lock();
        if let Some(own) = taken.get_mut(token) {
            *own -= 1;
            if *own == 0 {
                taken.remove(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_gets_its_part_of_the_seats_and_all_together_no_more_than_there_are() {
        let seats = Seats::default();
        let waiter = |n: usize| Waiter {
            seats: seats.clone(),
            token: Some(
                TokenId::new(&format!("aaaaaaaaaa{}{}", letter(n / 26), letter(n % 26))).unwrap(),
            ),
            turn: None,
        };
        let mut taken = Vec::new();
        for n in 0..SEATS {
            taken.push(waiter(n / PER_TOKEN).seat().expect("there is room"));
        }
        assert!(waiter(0).seat().is_err() && waiter(20).seat().is_err());
        taken.remove(0);
        assert!(waiter(1).seat().is_err(), "it has its part");
        assert!(waiter(20).seat().is_ok());
        let local = Waiter { seats: seats.clone(), ..Waiter::default() };
        assert!(local.seat().is_ok());
        drop(taken);
        assert!(seats.lock().is_empty());
    }

    fn letter(n: usize) -> char {
        char::from(b'a' + u8::try_from(n).unwrap())
    }
}
