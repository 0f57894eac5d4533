//! What a run of probes makes this collector believe: rise, fall, and flapping. Pure.
//!
//! ```text
//! nothing yet ──first success──▶ passing ◀──rise successes in a row, not flapping── critical
//!      └───────────fall failures in a row──────────┴───────────────────────▲
//! ```
//!
//! A check that flaps may become critical and not passing: who is on call is told once, and not again and again that all is
//! well. When it has calmed down, `rise` successes in a row count as ever. One that flaps without `fall` failures in a row
//! stays passing, and its opinion says that it flaps.

use watchkeep_catalog::{Opinion, Status, Time};

use crate::flap::{History, Limits, RESULTS};

/// What changes a belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Successes in a row.
    pub(crate) rise: u32,
    /// Failures in a row.
    pub(crate) fall: u32,
    /// None: flapping is not looked for.
    pub(crate) flap: Option<Limits>,
}

/// One probe's result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) good: bool,
    /// Start of the probe.
    pub(crate) at: Time,
    pub(crate) reason: &'a str,
}

/// What is believed, and the results that may change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Belief {
    held: Option<Held>,
    run: Option<Run>,
    history: History,
    flapping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    status: Status,
    since: Time,
    first_seen: Time,
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
        let held = Held { status: Status::Critical, since: now, first_seen: now };
        let belief = Self { held: Some(held), ..Self::default() };
        (belief, belief.opinion(held, reason))
    }

    pub(crate) fn is_flapping(self) -> bool {
        self.flapping
    }

    /// Whether the run of equal results contradicts what is believed and is not long enough yet.
    pub(crate) fn is_on_edge(self, thresholds: Thresholds) -> bool {
        let Some(run) = self.run else { return false };
        match (self.held.map(|held| held.status), run.good) {
            (Some(Status::Critical), true) => run.length < thresholds.rise,
            (None | Some(Status::Passing), false) => run.length < thresholds.fall,
            _ => false,
        }
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
        let history = self.history.after(seen.good);
        let flapping = thresholds.flap.is_some_and(|limits| history.flaps(self.flapping, limits));
        let changed = match (self.held.map(|held| held.status), run.good) {
            (None, true) => Some(Status::Passing),
            (Some(Status::Critical), true) if run.length >= thresholds.rise && !flapping => {
                Some(Status::Passing)
            }
            (None | Some(Status::Passing), false) if run.length >= thresholds.fall => {
                Some(Status::Critical)
            }
            _ => None,
        };
        let formed = changed.map(|status| Held { status, since: now, first_seen: run.first_seen });
        let held = formed.or(self.held);
        let belief = Self { held, run: Some(run), history, flapping };
        let told = formed.or(held.filter(|_| flapping != self.flapping));
        (belief, told.map(|held| belief.opinion(held, seen.reason)))
    }

    fn opinion(self, held: Held, reason: &str) -> Opinion {
        let reason = if self.flapping {
            let percent = self.history.change_percent();
            format!("flapping ({percent} % of the last {RESULTS} results were changes): {reason}")
        } else {
            reason.to_owned()
        };
        let Held { status, since, first_seen } = held;
        let flapping = self.flapping;
        Opinion { status, since, first_seen, reason, flapping, trace_parent: None }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

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
                let thresholds = Thresholds { rise, fall, flap: None };
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
        assert_eq!(belief.after(seen, Thresholds { rise: 1, fall: 1, flap: None }, at(6)).1, None);
    }

    /// The opinions that a run of probes, one a second, leads to, each with the second at which it was told: `C` and
    /// `P`, in small letters when it flaps.
    fn told(probes: &str, flap: Option<Limits>) -> String {
        let mut belief = Belief::default();
        let mut told = Vec::new();
        for (second, probe) in (0..).zip(probes.chars()) {
            let seen = Seen { good: probe == '+', at: at(second), reason: "why" };
            let (next, opinion) =
                belief.after(seen, Thresholds { rise: 1, fall: 2, flap }, at(second));
            belief = next;
            if let Some(opinion) = opinion {
                assert_eq!(opinion.flapping, belief.is_flapping());
                assert_eq!(opinion.flapping, opinion.reason.starts_with("flapping ("));
                let letter = if opinion.status == Status::Passing { 'P' } else { 'C' };
                let letter = if opinion.flapping { letter.to_ascii_lowercase() } else { letter };
                told.push(format!("{letter}{second}"));
            }
        }
        told.join(" ")
    }

    #[test]
    fn what_flaps_does_not_become_passing() {
        let flap = Some(Limits { low_percent: 20, high_percent: 30 });
        let calm = "+".repeat(16);
        for (probes, without, with) in [
            // Six changes are too many: told once, critical until it is calm.
            ("--+--+--+--+--", "C1 P2 C4 P5 C7 P8 C10 P11 C13", "C1 P2 C4 P5 C7 P8 p9 c10"),
            ("+-+-+-+-", "P0", "P0 p6"),
            (&format!("+-+-+-+-+{calm}"), "P0", "P0 p6 P24"),
            (
                &format!("--+--+--+--+--{calm}"),
                "C1 P2 C4 P5 C7 P8 C10 P11 C13 P14",
                "C1 P2 C4 P5 C7 P8 p9 c10 P28",
            ),
        ] {
            assert_eq!(told(probes, None), without, "{probes}");
            assert_eq!(told(probes, flap), with, "{probes}");
        }
    }

    #[test]
    fn on_edge_while_a_run_is_short() {
        let thresholds = Thresholds { rise: 2, fall: 3, flap: None };
        let mut belief = Belief::default();
        for (probe, on_edge) in [
            (false, true),
            (false, true),
            (false, false),
            (false, false),
            (true, true),
            (true, false),
            (false, true),
            (true, false),
        ] {
            let seen = Seen { good: probe, at: at(0), reason: "why" };
            belief = belief.after(seen, thresholds, at(0)).0;
            assert_eq!(belief.is_on_edge(thresholds), on_edge);
        }
    }

    proptest! {
        /// Whatever came before: no opinion becomes passing while the check flaps, and one that is calm for long is what
        /// it would be without damping.
        #[test]
        fn damping_holds_back_and_nothing_is_lost(probes in "[+-]{0,80}", end in "[+]{40}|[-]{40}") {
            let flap = Limits { low_percent: 20, high_percent: 30 };
            let run = |flap| {
                let thresholds = Thresholds { rise: 2, fall: 2, flap };
                let mut belief = Belief::default();
                for probe in probes.chars().chain(end.chars()) {
                    let before = belief;
                    let seen = Seen { good: probe == '+', at: at(0), reason: "why" };
                    let (next, opinion) = belief.after(seen, thresholds, at(0));
                    let status = |belief: Belief| belief.held.map(|held| held.status);
                    if next.flapping && status(before) == Some(Status::Critical) {
                        assert_eq!(status(next), Some(Status::Critical));
                    }
                    let other = status(before) != status(next) || before.flapping != next.flapping;
                    assert_eq!(opinion.is_some(), other && next.held.is_some());
                    belief = next;
                }
                (belief.held.map(|held| held.status), belief.flapping)
            };
            prop_assert_eq!(run(Some(flap)), run(None));
        }
    }
}
