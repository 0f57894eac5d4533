//! Flapping: how much of the latest results was a change. Pure.
//!
//! As Nagios has it: of the last 21 results there are 20 steps from one to the next, each a change or not; a recent change
//! weighs more than an old one (0.8 for the oldest step to 1.2 for the latest, 20 in all), and the sum is a percentage. A
//! check flaps from `high_percent` on, until it is below `low_percent`.

/// Results that are looked at.
pub(crate) const RESULTS: u32 = 21;
const STEPS: u32 = RESULTS - 1;
/// Weight of the oldest step, and what the others have more, one by one; in units of which [`UNITS`] make a weight of 1.
const OLDEST: u32 = 152;
const MORE: u32 = 4;
const UNITS: u32 = 190;

/// From when to when it flaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) low_percent: u8,
    pub(crate) high_percent: u8,
}

/// The last results; before the first of them nothing changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Bit 0: whether the latest step was a change.
    changes: u32,
    last: Option<bool>,
}

impl History {
    pub(crate) fn after(self, good: bool) -> Self {
        let changed = self.last.is_some_and(|last| last != good);
        let changes = (self.changes << 1 | u32::from(changed)) & ((1 << STEPS) - 1);
        Self { changes, last: Some(good) }
    }

    /// The weighted share of changes, 0 to 100.
    pub(crate) fn change_percent(self) -> u8 {
        let weight = |age: u32| OLDEST + MORE * (STEPS - 1 - age);
        let changed = (0..STEPS).filter(|age| self.changes >> age & 1 == 1);
        let percent = changed.map(weight).sum::<u32>() * 100 / (STEPS * UNITS);
        u8::try_from(percent).unwrap_or(100)
    }

    /// Whether it flaps, having `flapped` before.
    pub(crate) fn flaps(self, flapped: bool, limits: Limits) -> bool {
        let from = if flapped { limits.low_percent } else { limits.high_percent };
        self.change_percent() >= from
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(results: &str) -> History {
        results.chars().fold(History::default(), |h, letter| h.after(letter == '+'))
    }

    #[test]
    fn table() {
        for (results, percent) in [
            ("", 0),
            ("-", 0),
            ("-------", 0),
            ("+-", 6),
            ("-+", 6),
            ("+-+", 11),
            ("+--------------------", 4),
            ("+---------------------", 0),
            ("+-+-+-+-+-+-+-+-+-+-+", 100),
            ("-+-+-+-+-+-+-+-+-+-+-+-+-+-+", 100),
        ] {
            assert_eq!(history(results).change_percent(), percent, "{results}");
        }
        let limits = Limits { low_percent: 20, high_percent: 30 };
        let calm = history("+-+-+").change_percent();
        assert!((20..30).contains(&calm));
        assert!(!history("+-+-+").flaps(false, limits) && history("+-+-+").flaps(true, limits));
    }

    proptest! {
        /// The sum as it is written down: weights in a line from 0.8 to 1.2 over the last 20 steps.
        #[test]
        fn agrees_with_the_sum(results in prop::collection::vec(any::<bool>(), 0..60)) {
            let history = results.iter().fold(History::default(), |h, good| h.after(*good));
            let steps: Vec<bool> = results.windows(2).map(|w| w[0] != w[1]).collect();
            let mut latest = vec![false; 20];
            latest.extend(steps);
            let latest = &latest[latest.len() - 20..];
            let weighed: f64 = (0_u32..).zip(latest).filter(|(_, changed)| **changed)
                .map(|(at, _)| 0.8 + 0.4 * f64::from(at) / 19.0).sum();
            let percent = f64::from(history.change_percent());
            prop_assert!((percent - weighed * 5.0).abs() <= 1.0, "{percent} {weighed}");
        }

        /// Twenty equal results end all flapping.
        #[test]
        fn calm_ends_it(before in prop::collection::vec(any::<bool>(), 0..40), good in any::<bool>()) {
            let history = before.iter().fold(History::default(), |h, good| h.after(*good));
            let calm = (0..RESULTS).fold(history, |h, _| h.after(good));
            prop_assert_eq!(calm.change_percent(), 0);
        }
    }
}
