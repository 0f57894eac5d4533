//! What a run of probes makes this collector believe: rise and fall. Pure.
//!
//! ```text
//! nothing yet ──first success──▶ passing ◀──rise successes in a row── critical
//!      └───────────fall failures in a row──────────┴───────────────────────▲
//! ```

use watchkeep_catalog::{Opinion, Status, Time};

/// How many in a row change a belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) rise: u32,
    pub(crate) fall: u32,
}

/// One probe's result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) good: bool,
    /// Start of the probe.
    pub(crate) at: Time,
    pub(crate) reason: &'a str,
}

/// What is believed, and the run of equal results that may change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Belief {
    status: Option<Status>,
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    good: bool,
    length: u32,
    first_seen: Time,
}

impl Belief {
    /// Critical without a probe: the check itself is wrong.
    pub(crate) fn broken(reason: &str, now: Time) -> (Self, Opinion) {
        let belief = Self { status: Some(Status::Critical), run: None };
        (belief, opinion(Status::Critical, now, now, reason))
    }

    /// The belief after one more probe, and the opinion to publish if it changed.
    pub(crate) fn after(
        self,
        seen: Seen<'_>,
        thresholds: Thresholds,
        now: Time,
    ) -> (Self, Option<Opinion>) {
        let run = match self.run {
            Some(run) if run.good == seen.good => {
                Run { length: run.length.saturating_add(1), ..run }
            }
            _ => Run { good: seen.good, length: 1, first_seen: seen.at },
        };
        let changed = match (self.status, run.good) {
            (None, true) => Some(Status::Passing),
            (Some(Status::Critical), true) if run.length >= thresholds.rise => {
                Some(Status::Passing)
            }
            (None | Some(Status::Passing), false) if run.length >= thresholds.fall => {
                Some(Status::Critical)
            }
            _ => None,
        };
        let belief = Self { status: changed.or(self.status), run: Some(run) };
        (belief, changed.map(|status| opinion(status, now, run.first_seen, seen.reason)))
    }
}

fn opinion(status: Status, since: Time, first_seen: Time, reason: &str) -> Opinion {
    Opinion { status, since, first_seen, reason: reason.to_owned(), trace_parent: None }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(second: i64) -> Time {
        DateTime::from_timestamp(second, 0).expect("in range")
    }

    /// `+` a success, `-` a failure, one a second; `P` and `C` an opinion that becomes passing or critical,
    /// with the second at which its run began.
    #[test]
    fn table() {
        for (rise, fall, probes, expected) in [
            (1, 2, "+", "P0"),
            (3, 2, "+", "P0"),
            (1, 2, "+-+-+-", "P0"),
            (1, 2, "++--", "P0 C2"),
            (1, 2, "-", ""),
            (1, 2, "--", "C0"),
            (1, 2, "-+", "P1"),
            (1, 2, "--+", "C0 P2"),
            (2, 2, "--+-++", "C0 P4"),
            (1, 1, "+-+", "P0 C1 P2"),
            (1, 3, "+--+---", "P0 C4"),
            (1, 2, "----", "C0"),
            (2, 3, "---++", "C0 P3"),
        ] {
            let mut belief = Belief::default();
            let mut opinions = Vec::new();
            for (second, probe) in (0..).zip(probes.chars()) {
                let seen = Seen { good: probe == '+', at: at(second), reason: "why" };
                let thresholds = Thresholds { rise, fall };
                let (next, opinion) = belief.after(seen, thresholds, at(second + 100));
                belief = next;
                if let Some(opinion) = opinion {
                    assert_eq!((opinion.since, &*opinion.reason), (at(second + 100), "why"));
                    let letter = if opinion.status == Status::Passing { 'P' } else { 'C' };
                    opinions.push(format!("{letter}{}", opinion.first_seen.timestamp()));
                }
            }
            assert_eq!(opinions.join(" "), expected, "{rise} {fall} {probes}");
        }
    }

    #[test]
    fn a_broken_check_is_critical_until_it_is_changed() {
        let (belief, opinion) = Belief::broken("no such method", at(5));
        assert_eq!((opinion.status, opinion.first_seen), (Status::Critical, at(5)));
        let seen = Seen { good: false, at: at(6), reason: "no such method" };
        assert_eq!(belief.after(seen, Thresholds { rise: 1, fall: 1 }, at(6)).1, None);
    }
}
