//! When the budget is spent if probes go on to come as they did. Pure.
//!
//! Bad probes spend the budget; all probes earn it, as long as the range grows: this month's, or that of thirty days of which a
//! service has lived ten. Once a range rolls, as many probes leave it as come.
//!
//! ```text
//! left │╲                    left │──╲__  earns more than it spends until it is full,
//!      │  ╲  spends more          │     ╲ and then only spends
//!      └────x── than it earns     └──────x──
//! ```

use watchkeep_catalog::Time;

use super::{Budget, Counted, Hours, Objective};
use crate::slo::{
    bucket::Bucket,
    range::{Course, Range},
    time::{DAY_MS, HOUR_MS, MINUTE_MS, floor, instant},
};

/// Ranges longer than this look at the last day for their pace, others at the last hour.
const DAY_FROM: i64 = 2 * DAY_MS;
/// What lasts longer than a hundred years does not run out.
const LASTS_MS_MAX: f64 = 36_500.0 * DAY_MS as f64;

/// How probes came lately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    now: i64,
    recent: Bucket,
    /// Within so many milliseconds.
    length_ms: i64,
    /// For so long the range still grows.
    grows_ms: f64,
}

impl Pace {
    pub(super) fn of(counted: &Counted<'_>, range: &Range) -> Self {
        let (now, hours) = (counted.now, Hours(counted.days));
        let (from, recent) = if range.to - range.from > DAY_FROM {
            let from = floor(now - DAY_MS, HOUR_MS);
            (from, hours.sum(from, now))
        } else {
            let from = floor(now - HOUR_MS, MINUTE_MS);
            let minutes = counted.minutes.iter().filter(|(at, _)| at * MINUTE_MS >= from);
            let sum = minutes.fold(Bucket::default(), |mut sum, (_, minute)| {
                sum.add(*minute);
                sum
            });
            (from, sum)
        };
        // A service that is younger than the pace's span has been at it since its first probe.
        let first = hours.first().unwrap_or(now);
        let grows_ms = match range.course {
            Course::Grows(_) => f64::INFINITY,
            Course::Rolls => (first - range.from).max(0) as f64,
        };
        let length_ms = (now - from.max(first)).max(1);
        Self { now, recent, length_ms, grows_ms }
    }

    /// When `budget` runs out; nothing when it does not, or is spent.
    pub(super) fn runs_out_at(
        self,
        range: &Range,
        budget: &Budget,
        objective: Objective,
        good: fn(&Bucket) -> u64,
    ) -> Option<Time> {
        if range.to != self.now || budget.remaining_probes <= 0.0 {
            return None;
        }
        let per_ms = |count: f64| count / self.length_ms as f64;
        let spends = per_ms((self.recent.total - good(&self.recent)) as f64);
        let earns = per_ms((1.0 - objective.availability) * self.recent.total as f64);
        let lasts_ms = lasts(budget.remaining_probes, spends, earns, self.grows_ms)?;
        let at = (lasts_ms < LASTS_MS_MAX).then(|| self.now + lasts_ms as i64)?;
        match range.course {
            Course::Grows(until) if at >= until => None,
            Course::Grows(_) | Course::Rolls => Some(instant(at)),
        }
    }
}

/// How long `left` lasts that is spent and, for so long, earned at these rates; nothing: for ever.
fn lasts(left: f64, spends: f64, earns: f64, grows_for: f64) -> Option<f64> {
    let net = spends - earns;
    if net > 0.0 && left <= net * grows_for {
        return Some(left / net);
    }
    let full = grows_for.is_finite() && spends > 0.0;
    full.then(|| grows_for + (left - net * grows_for) / spends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_earned_lasts_longer() {
        let never = f64::INFINITY;
        for (left, spends, earns, grows_for, expected) in [
            // It rolls: what comes pushes as much out.
            (10.0, 2.0, 1.0, 0.0, Some(5.0)),
            (10.0, 0.0, 1.0, 0.0, None),
            // It grows for ever: at half of the allowed rate it never runs out.
            (10.0, 1.0, 2.0, never, None),
            (10.0, 2.0, 2.0, never, None),
            (10.0, 3.0, 2.0, never, Some(10.0)),
            // It grows for four, and rolls from then on.
            (10.0, 3.0, 2.0, 4.0, Some(4.0 + 6.0 / 3.0)),
            (10.0, 1.0, 2.0, 4.0, Some(4.0 + 14.0)),
            (10.0, 12.0, 2.0, 4.0, Some(1.0)),
        ] {
            assert_eq!(lasts(left, spends, earns, grows_for), expected, "{left} {spends} {earns}");
        }
    }
}
