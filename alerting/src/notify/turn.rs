//! Waiting for one's turn on a way that did not work. A way that works has no line, and everybody's turn is at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::line::{Line, Place};
use crate::{backoff, throttle::Way};

/// Who is new lets those that wait go first, for so long without anything happening.
const HEAD_START: Duration = Duration::from_secs(3);

/// The lines of all ways.
#[derive(Default)]
pub(crate) struct Lines(BTreeMap<Way, Arc<Shared>>);

impl Lines {
    /// For one page, or for a message of several. `was_tried`: by another node, in vain.
    pub(crate) fn ticket(
        &mut self,
        node: &str,
        way: &Way,
        place: Place,
        was_tried: bool,
    ) -> Ticket {
        let new = || {
            let rng = backoff::rng(node, &format!("{}/{}", way.0, way.1));
            Arc::new(Shared {
                state: Mutex::new(State {
                    line: Line::new(rng, Instant::now()),
                    bells: BTreeMap::new(),
                    granted: None,
                }),
                news: watch::Sender::new(()),
            })
        };
        let shared = Arc::clone(self.0.entry(way.clone()).or_insert_with(new));
        let mut ticket = Ticket { shared, place, bell: None };
        if was_tried {
            ticket.enter(|line, place| line.resume(place, Instant::now()));
        }
        ticket
    }
}

struct Shared {
    state: Mutex<State>,
    news: watch::Sender<()>,
}

struct State {
    line: Line,
    /// Of those that wait.
    bells: BTreeMap<Place, Arc<Notify>>,
    granted: Option<Place>,
}

impl Shared {
    /// Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whoever has the turn, or else the oldest, who watches the clock.
    fn call(&self) {
        let mut state = self.lock();
        if state.granted.is_none() {
            state.granted = state.line.next(Instant::now());
        }
        let called = state.granted.as_ref().or_else(|| state.line.oldest());
        if let Some(bell) = called.and_then(|place| state.bells.get(place)) {
            bell.notify_one();
        }
    }

    /// Something has happened.
    fn advance(&self) {
        self.call();
        self.news.send_replace(());
    }
}

/// How a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    AtOnce,
    /// Somebody may have taken the incident meanwhile.
    AfterWaiting,
    /// It did not come in time.
    TooLate,
}

/// The right to try a way when it is one's turn; whoever waits leaves the line when it is dropped.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    place: Place,
    /// While it waits.
    bell: Option<Arc<Notify>>,
}

impl Ticket {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Waits for the turn.
    pub(super) async fn turn(&self, until: Instant) -> Turn {
        match &self.bell {
            Some(bell) => match timeout_at(until, self.wait(bell)).await {
                Ok(()) => Turn::AfterWaiting,
                Err(_) => Turn::TooLate,
            },
            None => self.let_others_go_first().await,
        }
    }

    /// What came of it. `wait`: the receiver asks to be left alone for so long.
    pub(super) fn tried(&mut self, taken: bool, wait: Option<Duration>) {
        let now = Instant::now();
        if self.bell.is_none() && !taken {
            self.enter(|line, place| line.refused(place, wait, now));
        } else {
            let mut state = self.shared.lock();
            match self.bell {
                Some(_) => state.line.tried(&self.place, taken, wait, now),
                None => state.line.works(now),
            }
            if state.granted.as_ref() == Some(&self.place) {
                state.granted = None;
            }
        }
        self.shared.advance();
    }

    fn enter(&mut self, how: impl FnOnce(&mut Line, Place)) {
        let bell = Arc::new(Notify::new());
        let mut state = self.shared.lock();
        how(&mut state.line, self.place.clone());
        state.bells.insert(self.place.clone(), Arc::clone(&bell));
        drop(state);
        self.bell = Some(bell);
    }

    async fn wait(&self, bell: &Notify) {
        loop {
            let due = {
                let mut state = self.shared.lock();
                if state.granted.is_none() {
                    state.granted = state.line.next(Instant::now());
                }
                if state.granted.as_ref() == Some(&self.place) {
                    return;
                }
                if let Some(bell) = state.granted.as_ref().and_then(|next| state.bells.get(next)) {
                    bell.notify_one();
                }
                let watches = state.granted.is_none() && state.line.oldest() == Some(&self.place);
                state.line.due().filter(|_| watches)
            };
            let time_has_come = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = bell.notified() => {}
                () = time_has_come => {}
            }
        }
    }

    /// Until nobody waits any more, or it is seen that the way does not work: then other ways are to be gone, and soon.
    async fn let_others_go_first(&self) -> Turn {
        let mut news = self.shared.news.subscribe();
        let mut known = None;
        let mut until = Instant::now() + HEAD_START;
        loop {
            news.mark_unchanged();
            {
                let mut state = self.shared.lock();
                let (downs, taken) = (state.line.downs(), state.line.taken());
                if state.line.is_empty() {
                    return if known.is_none() { Turn::AtOnce } else { Turn::AfterWaiting };
                }
                let before = known.replace((downs, taken)).unwrap_or((downs, taken));
                if before.0 != downs {
                    return Turn::AfterWaiting;
                }
                if before.1 != taken {
                    until = Instant::now() + HEAD_START;
                }
                state.line.hurry(Instant::now());
            }
            self.shared.call();
            // The sender lives as long as this one does.
            if timeout_at(until, news.changed()).await.is_err() {
                return Turn::AfterWaiting;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.bell.is_none() {
            return;
        }
        let mut state = self.shared.lock();
        state.line.leave(&self.place);
        state.bells.remove(&self.place);
        if state.granted.as_ref() == Some(&self.place) {
            state.granted = None;
        }
        drop(state);
        self.shared.advance();
    }
}
