//! What one node has counted of one service from raw samples, at a bounded cost.
//!
//! Samples may come late (another collector's, a slow probe's), so the recent past is counted anew again and
//! again, from where its outcome is settled:
//!
//! ```text
//!  … | hour | hour | previous hour | current hour |now
//!  settled, by hour | base                  near |  tail
//!                   |<- once a minute ----------------->|   replay
//!                                                |<---->|   extend: every few seconds
//! ```
//!
//! A sample that comes more than an hour or two late is not counted.

use std::collections::BTreeMap;

use super::{
    bucket::Bucket,
    interval::Span,
    latency::Latency,
    probes::Probes,
    roles::Roles,
    sweep::{State, Sweep},
    time::{HOUR_MS, MINUTE_MS, floor},
};

/// Raw samples are read back this far.
pub(super) const REACH_MS: i64 = 25 * HOUR_MS;
/// Counts by the minute are kept this far back: the windows of burn rates begin at whole minutes up to six hours.
pub(super) const MINUTES_MS: i64 = 6 * HOUR_MS;
/// [`Track::near`] lies this far back.
const NEAR_MS: i64 = 2 * MINUTE_MS;

/// Everything up to one moment.
#[derive(Debug, Clone)]
struct Fold {
    sweep: Sweep,
    /// Probes of each minute (its number since 1970) since the base.
    minutes: BTreeMap<i64, Bucket>,
    /// How long the good probes of each hour (its number) took.
    latency: BTreeMap<i64, Latency>,
}

impl Fold {
    fn advance(&mut self, probes: &Probes, roles: &Roles, until: i64) {
        let from = self.sweep.at();
        for probe in probes.probes.iter().filter(|p| (from..until).contains(&p.at)) {
            let key = &probes.keys[probe.series];
            if !roles.serves_at(&key.instance, probe.at) {
                continue;
            }
            let minute = self.minutes.entry(probe.at.div_euclid(MINUTE_MS)).or_default();
            if roles.is_excused(&key.instance, &key.check, probe.at) {
                minute.excluded += 1;
                continue;
            }
            minute.count(probe.good, probe.fast);
            if let Some(micros) = probe.micros.filter(|_| probe.good) {
                self.latency.entry(probe.at.div_euclid(HOUR_MS)).or_default().count(micros);
            }
        }
        self.sweep.advance(probes, roles, until);
    }
}

/// The counts of one service.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// Settled hours, by their number since 1970.
    hours: BTreeMap<i64, Bucket>,
    /// Their last minutes.
    minutes: BTreeMap<i64, Bucket>,
    /// How long their good probes took.
    latency: BTreeMap<i64, Latency>,
    base: Fold,
    near: Fold,
    tail: Fold,
}

impl Track {
    /// Nothing counted yet; raw samples are to be read from [`Self::base`] on.
    pub(super) fn new(now: i64) -> Self {
        let sweep = Sweep::new(floor(now - REACH_MS, HOUR_MS));
        let base = Fold { sweep, minutes: BTreeMap::new(), latency: BTreeMap::new() };
        let (hours, minutes, latency) = Default::default();
        Self { hours, minutes, latency, near: base.clone(), tail: base.clone(), base }
    }

    /// The start of the next hour to settle.
    pub(super) fn base(&self) -> i64 {
        self.base.sweep.at()
    }

    /// Where [`Self::extend`] goes on.
    pub(super) fn near(&self) -> i64 {
        self.near.sweep.at()
    }

    /// Counted up to here.
    pub(super) fn now(&self) -> i64 {
        self.tail.sweep.at()
    }

    /// Whether an hour before the previous one is not settled yet.
    pub(super) fn is_behind(&self, now: i64) -> bool {
        self.base() < floor(now, HOUR_MS) - HOUR_MS
    }

    /// Counts the hour that begins at the base for the last time.
    pub(super) fn settle(&mut self, probes: &Probes, roles: &Roles) {
        let start = self.base();
        self.base.advance(probes, roles, start + HOUR_MS);
        self.base.sweep.forget();
        let mut bucket = Bucket::default();
        for (number, minute) in std::mem::take(&mut self.base.minutes) {
            bucket.add(minute);
            self.minutes.insert(number, minute);
        }
        self.latency.append(&mut self.base.latency);
        self.hours.insert(start.div_euclid(HOUR_MS), bucket);
        let horizon = (start - REACH_MS).div_euclid(HOUR_MS);
        self.hours.retain(|hour, _| *hour >= horizon);
        self.latency.retain(|hour, _| *hour >= horizon);
        let horizon = (start - MINUTES_MS).div_euclid(MINUTE_MS);
        self.minutes.retain(|minute, _| *minute >= horizon);
        self.near = self.base.clone();
        self.tail = self.base.clone();
    }

    /// Counts anew from the base to `now`.
    pub(super) fn replay(&mut self, probes: &Probes, roles: &Roles, now: i64) {
        let mut near = self.base.clone();
        let near_at = floor(now - NEAR_MS, MINUTE_MS);
        if near_at > self.base() {
            near.advance(probes, roles, near_at);
        }
        self.near = near;
        self.extend(probes, roles, now);
    }

    /// Counts anew from [`Self::near`] to `now`.
    pub(super) fn extend(&mut self, probes: &Probes, roles: &Roles, now: i64) {
        self.tail = self.near.clone();
        self.tail.advance(probes, roles, now);
    }

    /// How the service is now.
    pub(super) fn state(&self) -> State {
        self.tail.sweep.state()
    }

    /// Every change of state, in order.
    pub(super) fn changes(&self) -> &[(i64, State)] {
        self.tail.sweep.changes()
    }

    /// Since when [`Self::spans`] are whole.
    pub(super) fn whole_from(&self) -> i64 {
        self.tail.sweep.whole_from()
    }

    /// The raw count of an hour (its number since 1970).
    pub(super) fn hour(&self, hour: i64) -> Bucket {
        let mut sum = self.hours.get(&hour).copied().unwrap_or_default();
        let minutes = hour * 60..(hour + 1) * 60;
        self.tail.minutes.range(minutes).for_each(|(_, minute)| sum.add(*minute));
        sum
    }

    /// The raw counts of the minutes (their numbers since 1970) since `from`, at most [`MINUTES_MS`] back.
    pub(super) fn minutes(&self, from: i64) -> impl Iterator<Item = (i64, Bucket)> + '_ {
        let from = from.div_euclid(MINUTE_MS);
        let minutes = self.minutes.range(from..).chain(self.tail.minutes.range(from..));
        minutes.map(|(number, minute)| (*number, *minute))
    }

    /// The raw count since `from`, at most [`MINUTES_MS`] back.
    pub(super) fn since(&self, from: i64) -> Bucket {
        let mut sum = Bucket::default();
        self.minutes(from).for_each(|(_, minute)| sum.add(minute));
        sum
    }

    /// How long the good probes of these hours (their numbers since 1970) took.
    pub(super) fn latency(&self, hours: std::ops::Range<i64>) -> Latency {
        let mut sum = Latency::default();
        let both = self.latency.range(hours.clone()).chain(self.tail.latency.range(hours));
        both.for_each(|(_, hour)| sum.add(hour));
        sum
    }

    /// Spans in `state`; the last one may go on.
    pub(super) fn spans(&self, state: State) -> Vec<Span> {
        let now = self.now();
        let ends = self.changes().iter().skip(1).map(|c| (c.0, false)).chain([(now, true)]);
        let spans = self.changes().iter().zip(ends).filter(|((_, s), _)| *s == state);
        spans.map(|(&(start, _), (end, ongoing))| Span::new(start, end, ongoing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slo::probes::tests::series;

    /// Number of the first multiple of `step` that is not before `ms`.
    fn multiple(ms: i64, step: i64) -> i64 {
        -(-ms).div_euclid(step)
    }

    /// A probe at each multiple of `step` in `[from, to)`; bad within `bad`.
    fn probes(from: i64, to: i64, step: i64, bad: std::ops::Range<i64>) -> Probes {
        let moments = (multiple(from, step)..multiple(to, step)).map(|n| n * step);
        let samples: Vec<_> =
            moments.map(|at| (at, if bad.contains(&at) { 0.0 } else { 1.0 })).collect();
        let durations: Vec<_> = samples.iter().map(|s| (s.0, 0.01)).collect();
        let (success, duration) = ([series("a", &samples)], [series("a", &durations)]);
        Probes::join(&success, &duration, (from, to), 100)
    }

    #[test]
    fn settled_replayed_and_extended_agree() {
        let now = 100 * HOUR_MS + 10 * MINUTE_MS + 1_500;
        // Down across the border of the previous hour, and now.
        let down = (99 * HOUR_MS - 5_000)..(99 * HOUR_MS + 5_000);
        let roles = Roles::default();
        let mut track = Track::new(now);
        assert_eq!(track.base(), 75 * HOUR_MS);
        while track.is_behind(now) {
            let base = track.base();
            let samples = if base < 97 * HOUR_MS {
                Probes::default()
            } else {
                probes(base, base + HOUR_MS, 1_000, down.clone())
            };
            track.settle(&samples, &roles);
        }
        assert_eq!(track.base(), 99 * HOUR_MS);
        track.replay(&probes(99 * HOUR_MS, now, 1_000, down.clone()), &roles, now);
        assert_eq!(track.near(), 100 * HOUR_MS + 8 * MINUTE_MS);
        assert_eq!(track.hour(96), Bucket::default());
        assert_eq!(track.hour(98), Bucket { total: 3_600, good: 3_595, fast: 3_595, excluded: 0 });
        assert_eq!(track.hour(99), Bucket { total: 3_600, good: 3_595, fast: 3_595, excluded: 0 });
        assert_eq!(track.hour(100).total, 602);
        assert_eq!(track.since(100 * HOUR_MS + 9 * MINUTE_MS).total, 62);
        assert_eq!(track.spans(State::Down), [Span::new(down.start, down.end, false)]);
        assert_eq!(track.state(), State::Up);

        // Five seconds later, all bad since then: a tail that is counted twice is counted once.
        let later = now + 5_000;
        for _ in 0..2 {
            track.extend(&probes(track.near(), later, 1_000, now..later), &roles, later);
        }
        assert_eq!(track.hour(100), Bucket { total: 607, good: 602, fast: 602, excluded: 0 });
        let start = 100 * HOUR_MS + 10 * MINUTE_MS + 2_000;
        assert_eq!(track.spans(State::Down)[1], Span::new(start, later, true));
    }

    proptest! {
        #[test]
        fn however_it_is_refreshed_it_counts_every_probe_once(refreshes in prop::collection::vec(1i64..HOUR_MS, 1..20)) {
            let roles = Roles::default();
            let mut now = 50 * HOUR_MS;
            let mut track = Track::new(now);
            for (turn, step) in refreshes.into_iter().enumerate() {
                now += step;
                while track.is_behind(now) {
                    let base = track.base();
                    track.settle(&probes(base, base + HOUR_MS, 7_000, 0..0), &roles);
                }
                if turn % 3 == 0 {
                    track.replay(&probes(track.base(), now, 7_000, 0..0), &roles, now);
                } else {
                    track.extend(&probes(track.near(), now, 7_000, 0..0), &roles, now);
                }
                let first = track.base() / HOUR_MS - 20;
                let counted: u64 = (first..=now / HOUR_MS).map(|h| track.hour(h).total).sum();
                let expected = multiple(now, 7_000) - multiple(first * HOUR_MS, 7_000);
                prop_assert_eq!(counted, expected as u64);
                prop_assert_eq!(track.spans(State::Down), []);
            }
        }
    }
}
