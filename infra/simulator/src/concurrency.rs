//! The concurrency limit: the requests beyond it wait first in, first out, and each knows its position. The limit may
//! change while requests wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// One limit over all endpoints of an account, as fal counts it.
#[derive(Clone, Debug)]
pub(crate) struct Concurrency(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: usize,
    running: usize,
    max_running: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Pass>)>,
    next_ticket: u64,
}

/// The right to be in progress; admits the next in line when dropped.
#[derive(Debug)]
pub(crate) struct Pass(Concurrency);

/// A place in the line; leaves the line when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Concurrency,
    number: u64,
    admitted: oneshot::Receiver<Pass>,
}

impl Concurrency {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            limit,
            running: 0,
            max_running: 0,
            waiting: VecDeque::new(),
            next_ticket: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place at the end of the line. [`Concurrency::position`] takes the ticket's number.
    pub(crate) fn enqueue(&self) -> Ticket {
        let (admit, admitted) = oneshot::channel();
        let number = {
            let mut state = self.state();
            let number = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.push_back((number, admit));
            number
        };
        self.admit();
        Ticket { gate: self.clone(), number, admitted }
    }

    /// The number of requests that wait before this one; 0 also for one that no longer waits.
    pub(crate) fn position(&self, number: u64) -> usize {
        self.state().waiting.iter().position(|(n, _)| *n == number).unwrap_or(0)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.state().running
    }

    /// The most that were in progress at once since [`Concurrency::reset_max`].
    pub(crate) fn max_running(&self) -> usize {
        self.state().max_running
    }

    pub(crate) fn reset_max(&self) {
        let mut state = self.state();
        state.max_running = state.running;
    }

    /// Changes the limit. Requests already in progress stay so.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
        self.admit();
    }

    pub(crate) fn limit(&self) -> usize {
        self.state().limit
    }

    fn admit(&self) {
        loop {
            let (sender, pass) = {
                let mut state = self.state();
                if state.running >= state.limit {
                    return;
                }
                let Some((_, sender)) = state.waiting.pop_front() else {
                    return;
                };
                state.running += 1;
                state.max_running = state.max_running.max(state.running);
                (sender, Pass(self.clone()))
            };
            // If the receiver is dropped, the pass comes back, and its drop (outside the lock) admits the next.
            drop(sender.send(pass));
        }
    }
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the turn. `None` only if the limit itself is dropped.
    pub(crate) async fn wait(mut self) -> Option<Pass> {
        (&mut self.admitted).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.state().waiting.retain(|(number, _)| *number != self.number);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_admitted_in_order_and_never_above_the_limit() {
        let gate = Concurrency::new(2);
        let tickets: Vec<_> = (0..5).map(|_| gate.enqueue()).collect();
        let numbers: Vec<_> = tickets.iter().map(Ticket::number).collect();
        assert_eq!((gate.running(), gate.waiting()), (2, 3));
        assert_eq!(numbers.iter().map(|n| gate.position(*n)).collect::<Vec<_>>(), [0, 0, 0, 1, 2]);
        let mut passes = VecDeque::new();
        for ticket in tickets {
            if passes.len() == 2 {
                passes.pop_front();
            }
            passes.push_back(ticket.wait().await.unwrap());
        }
        assert_eq!((gate.running(), gate.max_running()), (2, 2));
        passes.clear();
        assert_eq!(gate.running(), 0);
    }

    #[tokio::test]
    async fn a_dropped_ticket_moves_the_others_up() {
        let gate = Concurrency::new(1);
        let first = gate.enqueue().wait().await.unwrap();
        let second = gate.enqueue();
        let third = gate.enqueue();
        assert_eq!(gate.position(third.number()), 1);
        drop(second);
        assert_eq!(gate.position(third.number()), 0);
        drop(first);
        assert!(third.wait().await.is_some());
        assert_eq!(gate.running(), 0, "the pass was dropped with the assertion");
    }

    #[tokio::test]
    async fn an_admitted_ticket_that_is_dropped_admits_the_next() {
        let gate = Concurrency::new(1);
        let first = gate.enqueue();
        let second = gate.enqueue();
        drop(first);
        assert!(second.wait().await.is_some());
    }

    #[tokio::test]
    async fn the_limit_can_grow() {
        let gate = Concurrency::new(0);
        let ticket = gate.enqueue();
        assert_eq!(gate.waiting(), 1);
        gate.set_limit(1);
        assert!(ticket.wait().await.is_some());
    }
}
