//! When a member calls an election, and when it helps another to win one.
//!
//! openraft's own timer knows silence only. Silence alone must be long to mean anything: a leader on a busy machine is
//! late. But a process that ends closes its connections, and then nothing listens on its port: so a member that loses
//! its connection to the leader and finds nobody there calls an election as soon as the leader's lease is over.
//!
//! ```text
//! heard ├── lease ──┤ the leader may answer reads without asking; nobody votes (openraft keeps to it)
//!       ├── lease ── rank ──▶ election, when the leader's process is known to have ended
//!       ├── election timeout ── drawn ──▶ election, on silence alone
//! ```
//!
//! It asks first whether it would be elected (pre-vote). A member says yes only if it also knows that the leader has
//! ended, or has heard nothing for an election timeout itself: one that is merely cut off disturbs nobody.

use std::time::Duration;

use tokio::time::Instant;

pub(crate) mod follow;
mod vitals;

pub(crate) use vitals::Vitals;

/// What a member waits beyond the lease: its clock began a little earlier than another's.
const MARGIN: Duration = Duration::from_millis(15);
/// Between the members that may be elected, so that they do not split the votes.
const RANK: Duration = Duration::from_millis(40);
/// Pause after a campaign that was not won; it doubles, and is drawn up to its double.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Doublings of the pause.
const DOUBLINGS_MAX: u32 = 4;

/// The times that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// For so long after it was heard a leader may answer reads without asking, and no member votes for another.
    pub(crate) lease: Duration,
    /// Silence that alone is reason enough; the actual one is drawn up to its double.
    pub(crate) timeout: Duration,
}

impl Timing {
    /// Four heartbeats of lease, unless the election timeout is shorter.
    pub(crate) fn new(heartbeat_ms: u64, timeout_ms: u64) -> Self {
        Self {
            lease: Duration::from_millis((4 * heartbeat_ms).min(timeout_ms)),
            timeout: Duration::from_millis(timeout_ms),
        }
    }
}

/// What a member sees of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// It is a voter, and does not lead.
    pub(crate) may_stand: bool,
    /// It is the only voter.
    pub(crate) alone: bool,
    /// Since it heard a leader, or voted for one, or began.
    pub(crate) quiet: Duration,
    /// It has heard none since it began.
    pub(crate) new: bool,
    /// The leader's process has ended, or there is none to its knowledge.
    pub(crate) gone: bool,
    /// Voters with a lower number that have not ended.
    pub(crate) rank: u32,
}

/// One member's campaigns.
#[derive(Debug)]
pub(crate) struct Campaign {
    timing: Timing,
    /// Between 0 and 1.
    drawn: f64,
    attempts: u32,
    not_before: Option<Instant>,
}

impl Campaign {
    pub(crate) fn new(timing: Timing, drawn: f64) -> Self {
        Self { timing, drawn, attempts: 0, not_before: None }
    }

    /// Whether to call an election now. `drawn` is a new random number between 0 and 1.
    pub(crate) fn is_due(&mut self, now: Instant, seen: &Seen, drawn: f64) -> bool {
        let Timing { lease, timeout } = self.timing;
        let wait = if seen.alone {
            Duration::ZERO
        } else if seen.new {
            lease + lease.mul_f64(self.drawn)
        } else if seen.gone {
            lease + MARGIN + RANK * seen.rank
        } else {
            timeout + timeout.mul_f64(self.drawn)
        };
        if !seen.may_stand || seen.quiet < wait {
            (self.attempts, self.not_before) = (0, None);
            return false;
        }
        if self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        let pause = PAUSE_MIN * 2u32.pow(self.attempts.min(DOUBLINGS_MAX));
        self.not_before = Some(now + pause + pause.mul_f64(drawn));
        self.attempts += 1;
        self.drawn = drawn;
        true
    }
}

/// Whether a member that sees this says that it would vote for another.
pub(crate) fn would_vote(timing: Timing, seen: &Seen) -> bool {
    seen.new || seen.gone || seen.quiet >= timing.timeout
}

/// For how long no election can be due, whatever is heard or found out meanwhile.
pub(crate) fn nothing_due(timing: Timing, seen: &Seen) -> Duration {
    if seen.alone { Duration::ZERO } else { timing.lease.saturating_sub(seen.quiet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing =
        Timing { lease: Duration::from_millis(200), timeout: Duration::from_millis(1_000) };

    fn seen(quiet_ms: u64) -> Seen {
        let quiet = Duration::from_millis(quiet_ms);
        Seen { may_stand: true, alone: false, quiet, new: false, gone: false, rank: 0 }
    }

    #[test]
    fn the_lease_is_four_heartbeats_and_never_longer_than_the_timeout() {
        assert_eq!(Timing::new(50, 1_000), TIMING);
        assert_eq!(Timing::new(100, 300).lease, Duration::from_millis(300));
    }

    #[test]
    fn silence_must_be_long_unless_the_leader_has_ended() {
        let cases = [
            ("leads, or has no vote", Seen { may_stand: false, gone: true, ..seen(9_000) }, false),
            ("heard lately", seen(900), false),
            ("less than was drawn", seen(1_499), false),
            ("as drawn", seen(1_500), true),
            ("ended, but its lease goes on", Seen { gone: true, ..seen(200) }, false),
            ("ended", Seen { gone: true, ..seen(215) }, true),
            ("ended, another goes first", Seen { gone: true, rank: 1, ..seen(254) }, false),
            ("ended, the other did not", Seen { gone: true, rank: 1, ..seen(255) }, true),
            ("just begun", Seen { new: true, ..seen(299) }, false),
            ("begun, and nobody there", Seen { new: true, ..seen(300) }, true),
            ("alone", Seen { alone: true, ..seen(0) }, true),
        ];
        for (name, seen, expected) in cases {
            let mut campaign = Campaign::new(TIMING, 0.5);
            assert_eq!(campaign.is_due(Instant::now(), &seen, 0.0), expected, "{name}");
        }
    }

    #[test]
    fn nothing_is_due_before_it_can_be() {
        for (new, gone, alone) in
            [(false, false, false), (false, true, false), (true, true, false), (false, false, true)]
        {
            for quiet in [0, 50, 199, 200, 5_000] {
                let now = Seen { new, gone, alone, ..seen(quiet) };
                let rest = u64::try_from(nothing_due(TIMING, &now).as_millis()).expect("short");
                for later in (0..rest).step_by(10) {
                    let then = Seen { new, gone, alone, ..seen(quiet + later) };
                    let is_due = Campaign::new(TIMING, 0.0).is_due(Instant::now(), &then, 0.0);
                    assert!(!is_due, "quiet for {quiet} ms, {later} ms later: {then:?}");
                }
            }
        }
        assert_eq!(nothing_due(TIMING, &seen(50)), Duration::from_millis(150));
        assert_eq!(nothing_due(TIMING, &Seen { alone: true, ..seen(0) }), Duration::ZERO);
    }

    #[test]
    fn campaigns_that_are_not_won_come_at_growing_distances_until_a_leader_is_heard() {
        let start = Instant::now();
        let mut campaign = Campaign::new(TIMING, 0.0);
        let gone = Seen { gone: true, ..seen(5_000) };
        let called: Vec<u64> = (0..2_000u64)
            .filter(|ms| campaign.is_due(start + Duration::from_millis(*ms), &gone, 0.0))
            .collect();
        assert_eq!(called, [0, 100, 300, 700, 1_500]);
        let later = start + Duration::from_secs(3);
        assert!(!campaign.is_due(later, &seen(10), 0.0), "a leader is there");
        assert!(campaign.is_due(later, &gone, 0.0), "and gone again: at once");
    }

    #[test]
    fn a_member_helps_only_when_it_misses_the_leader_itself() {
        assert!(!would_vote(TIMING, &seen(999)));
        assert!(would_vote(TIMING, &seen(1_000)));
        assert!(would_vote(TIMING, &Seen { gone: true, ..seen(0) }));
        assert!(would_vote(TIMING, &Seen { new: true, ..seen(0) }));
    }
}
