//! Pages that one way to somebody did not take: which of them is tried again, and when. Pure.
//!
//! They are tried again in *rounds*. A round begins with the oldest, so that a way which is down costs one attempt and not one per
//! page, and what it takes first is what began first. As soon as one is taken the others follow, one after the other, oldest first.
//! If the oldest is not taken one other is tried, each time another one: perhaps it is only the oldest that the receiver
//! does not like, and that must hold up nobody.

use std::{collections::BTreeSet, time::Duration};

use rand::rngs::StdRng;
use tokio::time::Instant;
use watchkeep_catalog::Time;

use crate::backoff;

/// Pause after the first round that came to nothing; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest pause between two rounds.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Longest pause that a receiver may ask for.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// A round ends when so many were refused one after the other.
const MISSES_MAX: u32 = 2;

/// When the incident was opened, and what tells apart those of one moment.
pub(crate) type Place = (Time, String);

/// The pages that wait for one way.
#[derive(Debug)]
pub(super) struct Line {
    waiting: BTreeSet<Place>,
    round: Option<Round>,
    /// When the next round begins.
    due: Instant,
    /// The receiver asks to be left alone until then.
    asked: Instant,
    /// Rounds that came to nothing, one after the other.
    failures: u32,
    /// How often it has been seen that the way does not work.
    downs: u64,
    /// How many of those that waited were taken.
    taken: u64,
    /// Who was tried last when the oldest was not taken.
    probed: Option<Place>,
    rng: StdRng,
}

#[derive(Debug, Default)]
struct Round {
    trying: Option<Place>,
    /// Everything up to this one was tried, in order.
    passed: Option<Place>,
    /// Refused one after the other.
    misses: u32,
    /// One was taken.
    worked: bool,
}

impl Round {
    fn is_in_order(&self) -> bool {
        self.worked || self.misses == 0
    }
}

impl Line {
    pub(super) fn new(rng: StdRng, now: Instant) -> Self {
        Self {
            waiting: BTreeSet::new(),
            round: None,
            due: now,
            asked: now,
            failures: 0,
            downs: 0,
            taken: 0,
            probed: None,
            rng,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How often it has been seen that the way does not work.
    pub(super) fn downs(&self) -> u64 {
        self.downs
    }

    /// How many of those that waited were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn oldest(&self) -> Option<&Place> {
        self.waiting.first()
    }

    /// When the next round begins; none: one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.round.is_none().then_some(self.due)
    }

    /// One was not taken, and waits from now on.
    pub(super) fn refused(&mut self, place: Place, wait: Option<Duration>, now: Instant) {
        self.hold(wait, now);
        if self.waiting.is_empty() {
            self.failures = 1;
            self.pause(now);
        }
        self.waiting.insert(place);
    }

    /// One waits that was tried by another node.
    pub(super) fn resume(&mut self, place: Place, now: Instant) {
        if self.waiting.is_empty() {
            (self.failures, self.due) = (0, now);
        }
        self.waiting.insert(place);
    }

    /// One that is not in the line was taken: the others follow soon.
    pub(super) fn works(&mut self, now: Instant) {
        self.due = self.due.min((now + BACKOFF).max(self.asked));
    }

    /// Somebody new is there, and lets the oldest go first.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.asked));
    }

    /// Whose turn it is, if it is anybody's; it is under way then.
    pub(super) fn next(&mut self, now: Instant) -> Option<Place> {
        if self.waiting.is_empty() {
            self.round = None;
            return None;
        }
        if self.round.is_none() && now < self.due {
            return None;
        }
        let round = self.round.get_or_insert_default();
        if round.trying.is_some() {
            return None;
        }
        let next = if round.misses >= MISSES_MAX {
            None
        } else if round.is_in_order() {
            after(&self.waiting, round.passed.as_ref())
        } else {
            let others = |from| {
                let mut rest = after_all(&self.waiting, from);
                rest.find(|place| Some(*place) != round.passed.as_ref()).cloned()
            };
            others(self.probed.as_ref()).or_else(|| others(None))
        };
        match next {
            Some(next) => {
                round.trying = Some(next.clone());
                Some(next)
            }
            None => {
                self.end_round(now);
                None
            }
        }
    }

    /// What came of a turn.
    pub(super) fn tried(
        &mut self,
        place: &Place,
        taken: bool,
        wait: Option<Duration>,
        now: Instant,
    ) {
        self.hold(wait, now);
        if taken {
            self.waiting.remove(place);
            self.taken += 1;
        }
        let Some(round) = self.round.as_mut().filter(|r| r.trying.as_ref() == Some(place)) else {
            return;
        };
        if round.is_in_order() {
            round.passed = Some(place.clone());
        } else {
            self.probed = Some(place.clone());
        }
        round.trying = None;
        round.worked |= taken;
        round.misses = if taken { 0 } else { round.misses + 1 };
    }

    /// It waits no more, whatever the reason.
    pub(super) fn leave(&mut self, place: &Place) {
        self.waiting.remove(place);
        if let Some(round) = self.round.as_mut().filter(|r| r.trying.as_ref() == Some(place)) {
            round.trying = None;
        }
    }

    fn end_round(&mut self, now: Instant) {
        let Some(round) = self.round.take() else { return };
        if round.misses > 0 && (round.misses >= MISSES_MAX || !round.worked) {
            self.downs += 1;
        }
        self.failures = if round.worked { 1 } else { self.failures.saturating_add(1) };
        self.pause(now);
    }

    fn pause(&mut self, now: Instant) {
        let pause = backoff::pause(self.failures, BACKOFF, BACKOFF_MAX, &mut self.rng);
        self.due = (now + pause).max(self.asked);
    }

    fn hold(&mut self, wait: Option<Duration>, now: Instant) {
        if let Some(wait) = wait {
            self.asked = self.asked.max(now + wait.min(WAIT_MAX));
        }
    }
}

fn after_all<'a>(
    waiting: &'a BTreeSet<Place>,
    place: Option<&Place>,
) -> impl Iterator<Item = &'a Place> + use<'a> {
    use std::ops::Bound::{Excluded, Unbounded};
    let from = place.cloned().map_or(Unbounded, Excluded);
    waiting.range((from, Unbounded))
}

fn after(waiting: &BTreeSet<Place>, place: Option<&Place>) -> Option<Place> {
    after_all(waiting, place).next().cloned()
}

#[cfg(test)]
mod tests;
