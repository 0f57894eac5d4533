//! When a service was up, down, or unknown: a sweep over its probes in the order of time.
//!
//! - One collector's opinion of a check is its latest sample, as long as that is *fresh*: younger than
//!   [`FRESH_SPACINGS`] times the spacing of its samples (the median of the last three gaps).
//! - A check is bad when a strict majority of the fresh opinions is; an instance when any of its checks is; one
//!   without a fresh opinion says nothing.
//! - The service is **up** while some serving instance is up, **down** from the moment when none is and one is
//!   bad. When samples stop it stays down if it was (for at most [`SILENT_DOWN_MAX_MS`]), else it is **unknown**.
//!
//! ```text
//! web-1   + + + - - - + + .  .  .          + good   - bad   . no sample
//! web     up    down  up     unknown       a downtime lasts from the first - to the first +
//! ```
//!
//! What a maintenance window covers says nothing, either way. When nothing else is heard of a service it is in
//! **maintenance**: neither up nor down.
//!
//! The sweep can be cloned and continued, and cut anywhere: in pieces it gives what it gives at once.

use std::sync::Arc;

use super::{
    probes::{Probes, SeriesKey},
    roles::Roles,
    time::{DAY_MS, HOUR_MS},
};

/// A sample speaks for this many times the spacing of its series.
const FRESH_SPACINGS: i64 = 3;
/// Spacing that is assumed of a series' first sample, the default interval of a check.
const SPACING_FIRST_MS: i64 = 5_000;
/// Smallest spacing that is believed: probes at the edge may come faster, for a while.
const SPACING_MS_MIN: i64 = 1_000;
/// How long a downtime goes on after the last sample.
pub(super) const SILENT_DOWN_MAX_MS: i64 = DAY_MS;
/// Changes kept: one every ten seconds for more than a day. Older ones are in the day records by then.
const CHANGES_MAX: usize = 10_000;

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No fresh probes.
    Unknown,
    /// A serving instance is up.
    Up,
    /// None is, and one is bad.
    Down,
    /// Nothing is heard but of what a maintenance window covers.
    Maintenance,
}

/// One series' latest sample and the gaps before it.
#[derive(Debug, Clone)]
struct Slot {
    key: Arc<SeriesKey>,
    last: i64,
    good: bool,
    gaps: [i64; 3],
    gaps_seen: usize,
}

impl Slot {
    fn expiry(&self) -> i64 {
        let mut gaps = self.gaps;
        let gaps = &mut gaps[..self.gaps_seen.min(3)];
        gaps.sort_unstable();
        let median = gaps.get(gaps.len().saturating_sub(1) / 2);
        let spacing = median.map_or(SPACING_FIRST_MS, |gap| (*gap).clamp(SPACING_MS_MIN, DAY_MS));
        self.last + FRESH_SPACINGS * spacing
    }

    /// Takes a sample; true when it may change what the service is.
    fn take(&mut self, at: i64, good: bool) -> bool {
        let changes = self.last == i64::MIN || self.good != good || at >= self.expiry();
        if self.last != i64::MIN {
            self.gaps[self.gaps_seen % 3] = at - self.last;
            self.gaps_seen = if self.gaps_seen == 5 { 3 } else { self.gaps_seen + 1 };
        }
        (self.last, self.good) = (at, good);
        changes
    }
}

/// The sweep: everything before [`Self::at`] is in it.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    at: i64,
    state: State,
    /// Sorted by key, so that instances and checks lie together.
    slots: Vec<Slot>,
    changes: Vec<(i64, State)>,
    /// Every change since then is among [`Self::changes`], and what was before it is known.
    whole_from: i64,
    /// No fresh opinion expires before this moment.
    wake: i64,
}

impl Sweep {
    /// Nothing known before `at`.
    pub(super) fn new(at: i64) -> Self {
        let (slots, changes) = Default::default();
        // What began before `at` is told by the first samples behind it.
        let whole_from = at + HOUR_MS;
        Self { at, state: State::Unknown, slots, changes, whole_from, wake: i64::MAX }
    }

    /// The moment it has come to.
    pub(super) fn at(&self) -> i64 {
        self.at
    }

    /// How the service is then.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Every change of state, in order; before the first, unknown.
    pub(super) fn changes(&self) -> &[(i64, State)] {
        &self.changes
    }

    /// Since when the changes are whole: before, it had not begun, or forgot some of many.
    pub(super) fn whole_from(&self) -> i64 {
        self.whole_from
    }

    /// Goes on to `until` with the probes in `[at, until)`.
    pub(super) fn advance(&mut self, probes: &Probes, roles: &Roles, until: i64) {
        let slots = self.slots_of(&probes.keys);
        let from = self.at;
        let mut samples = probes.probes.iter().filter(|p| p.at >= from).peekable();
        let mut roles_changed = roles.changes_in(self.at, until).into_iter().peekable();
        loop {
            let sample_at = samples.peek().map_or(i64::MAX, |p| p.at);
            let role_at = roles_changed.peek().copied().unwrap_or(i64::MAX);
            let now = sample_at.min(role_at).min(self.wake);
            if now >= until {
                break;
            }
            let mut dirty = now == self.wake;
            dirty |= roles_changed.next_if_eq(&now).is_some();
            while let Some(probe) = samples.next_if(|p| p.at == now) {
                let slot = &mut self.slots[slots[probe.series]];
                dirty |= slot.take(now, probe.good);
                self.wake = self.wake.min(slot.expiry());
            }
            if dirty {
                self.evaluate(now, roles);
            }
        }
        self.at = until;
    }

    /// Forgets series that have been silent for long.
    pub(super) fn forget(&mut self) {
        let horizon = self.at - DAY_MS - SILENT_DOWN_MAX_MS;
        self.slots.retain(|s| s.last >= horizon);
    }

    /// The slot of each key, made where there is none.
    fn slots_of(&mut self, keys: &[Arc<SeriesKey>]) -> Vec<usize> {
        for key in keys {
            if let Err(at) = self.slots.binary_search_by(|s| s.key.cmp(key)) {
                let key = Arc::clone(key);
                let slot = Slot { key, last: i64::MIN, good: false, gaps: [0; 3], gaps_seen: 0 };
                self.slots.insert(at, slot);
            }
        }
        let place = |key: &Arc<SeriesKey>| self.slots.binary_search_by(|s| s.key.cmp(key));
        keys.iter().map(|key| place(key).unwrap_or_else(|at| at)).collect()
    }

    fn evaluate(&mut self, now: i64, roles: &Roles) {
        let (mut up, mut bad, mut excused) = (false, false, false);
        let mut last = i64::MIN;
        let mut wake = i64::MAX;
        for instance in self.slots.chunk_by(|a, b| a.key.instance == b.key.instance) {
            if !roles.serves_at(&instance[0].key.instance, now) {
                continue;
            }
            let (mut heard, mut instance_bad) = (false, false);
            for check in instance.chunk_by(|a, b| a.key.check == b.key.check) {
                let key = &check[0].key;
                if roles.is_excused(&key.instance, &key.check, now) {
                    excused = true;
                    continue;
                }
                let (mut fresh, mut against) = (0u32, 0u32);
                for slot in check.iter().filter(|s| s.last != i64::MIN) {
                    last = last.max(slot.last);
                    let expiry = slot.expiry();
                    if now < expiry {
                        wake = wake.min(expiry);
                        fresh += 1;
                        against += u32::from(!slot.good);
                    }
                }
                heard |= fresh > 0;
                instance_bad |= 2 * against > fresh;
            }
            up |= heard && !instance_bad;
            bad |= heard && instance_bad;
        }
        let silent_until = last.saturating_add(SILENT_DOWN_MAX_MS);
        let next = match self.state {
            _ if up => State::Up,
            _ if bad => State::Down,
            _ if excused => State::Maintenance,
            State::Down if now < silent_until => {
                wake = wake.min(silent_until);
                State::Down
            }
            _ => State::Unknown,
        };
        self.wake = wake;
        if next != self.state {
            self.state = next;
            if self.changes.len() >= CHANGES_MAX {
                self.changes.drain(..CHANGES_MAX / 4);
                let first = self.changes.first().map_or(now, |(at, _)| *at);
                self.whole_from = self.whole_from.max(first);
            }
            self.changes.push((now, next));
        }
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
