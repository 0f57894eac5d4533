//! Counted probes: what all shares are made of.

use serde::{Deserialize, Serialize};

/// Probes of the serving instances within one minute, hour or window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// All that count.
    pub total: u64,
    /// Those that succeeded.
    pub good: u64,
    /// Those that succeeded in time.
    pub fast: u64,
    /// Those that do not count, since they were made during a maintenance window.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excluded: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Bucket {
    /// Counts one probe.
    pub(super) fn count(&mut self, good: bool, fast: bool) {
        self.total += 1;
        self.good += u64::from(good);
        self.fast += u64::from(fast);
    }

    /// Counts another bucket's probes too.
    pub(super) fn add(&mut self, other: Self) {
        self.total += other.total;
        self.good += other.good;
        self.fast += other.fast;
        self.excluded += other.excluded;
    }

    /// All probes that were made, whether they count or not.
    pub(super) fn seen(&self) -> u64 {
        self.total + self.excluded
    }

    /// Of two counts of the same hour, the one that saw more; on a tie `self`, which is the fresher.
    #[must_use]
    pub(super) fn or_fuller(self, stored: Self) -> Self {
        if stored.seen() > self.seen() { stored } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(total: u64, good: u64, fast: u64) -> Bucket {
        Bucket { total, good, fast, excluded: 0 }
    }

    #[test]
    fn the_fuller_count_wins_and_a_tie_is_the_fresh_one() {
        let complete = bucket(3600, 3590, 3580);
        let excused = Bucket { excluded: 600, ..bucket(3000, 3000, 3000) };
        for (fresh, stored, expected) in [
            (bucket(0, 0, 0), complete, complete),
            (bucket(12, 12, 12), complete, complete),
            (bucket(3601, 3590, 3580), complete, bucket(3601, 3590, 3580)),
            (bucket(3600, 3590, 3000), complete, bucket(3600, 3590, 3000)),
            (complete, bucket(0, 0, 0), complete),
            // A maintenance window that was made known later takes probes out, and is no gap.
            (excused, complete, excused),
        ] {
            assert_eq!(fresh.or_fuller(stored), expected);
        }
    }
}
