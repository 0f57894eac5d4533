//! When a target is probed: at a fixed rate, on a grid of its own. Pure: times are durations since an epoch.
//!
//! The grid of a target lies at `phase + n * interval`, the phase drawn from a hash of the target, so that
//! probes of many targets are spread evenly and one that takes long shifts none after it. Since a new target
//! should not wait a minute for its first probe, that one comes within a second and off the grid:
//!
//! ```text
//! interval 10 s, phase 3.2 s, found at 14 s:  first at 14.2 s, then 23.2 s, 33.2 s, …
//! ```

use std::time::Duration;

/// A new target is probed within this.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// The times of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval: u64,
    phase: u64,
}

impl Schedule {
    /// `interval` is not 0; `hash` is the target's.
    pub(crate) fn new(interval: Duration, hash: u64) -> Self {
        let interval = nanos(interval).max(1);
        Self { interval, phase: hash % interval }
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// When a target that was found at `now` is first probed.
    pub(crate) fn first(&self, now: Duration) -> Duration {
        let within = nanos(FIRST_WITHIN);
        let now = nanos(now);
        let due = if self.interval <= within { self.tick(now) } else { now + self.phase % within };
        Duration::from_nanos(due)
    }

    /// When the probe after the one that was due at `due` is due, and how many runs are left out because their
    /// time has passed at `now`. One that is late by less than half an interval is made up for at once.
    pub(crate) fn next(&self, due: Duration, now: Duration) -> (Duration, u64) {
        let half = self.interval / 2;
        let next = self.tick(nanos(due) + half.max(1));
        let late = nanos(now).saturating_sub(next + half);
        let missed = late.div_ceil(self.interval);
        (Duration::from_nanos(next + missed * self.interval), missed)
    }

    /// The first tick of the grid at or after `at`.
    fn tick(&self, at: u64) -> u64 {
        self.phase + at.saturating_sub(self.phase).div_ceil(self.interval) * self.interval
    }
}

/// Nanoseconds in 64 bits last for 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// FNV-1a: the same on every machine and in every version.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV's low bits hang together for short inputs: mix (MurmurHash3's finalizer).
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn table() {
        let slow = Schedule::new(ms(10_000), ms(3_200).as_nanos() as u64);
        let quick = Schedule::new(ms(1_000), ms(200).as_nanos() as u64);
        for (schedule, now, first) in [
            (slow, 14_000, 14_200),
            (slow, 0, 200),
            (quick, 14_000, 14_200),
            (quick, 14_200, 14_200),
            (quick, 14_201, 15_200),
            (quick, 0, 200),
        ] {
            assert_eq!(schedule.first(ms(now)), ms(first), "{schedule:?} {now}");
        }
        for (schedule, due, now, next, missed) in [
            (slow, 14_200, 14_210, 23_200, 0),
            (slow, 8_200, 8_201, 13_200, 0),
            (slow, 8_199, 8_201, 13_200, 0),
            (quick, 200, 201, 1_200, 0),
            (quick, 200, 1_200, 1_200, 0),
            (quick, 200, 1_300, 1_200, 0),
            (quick, 200, 1_700, 1_200, 0),
            (quick, 200, 1_701, 2_200, 1),
            (quick, 200, 2_700, 2_200, 1),
            (quick, 200, 9_400, 9_200, 8),
        ] {
            assert_eq!(
                schedule.next(ms(due), ms(now)),
                (ms(next), missed),
                "{schedule:?} {due} {now}"
            );
        }
    }

    #[test]
    fn targets_are_spread() {
        let mut tenths = [0; 10];
        for n in 0..10_000 {
            let n = n.to_string();
            let schedule = Schedule::new(ms(1_000), hash(["web", n.as_str(), "http"]));
            tenths[(schedule.first(ms(0)).as_millis() / 100) as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (850..1150).contains(n)), "{tenths:?}");
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
    }
}
