//! Error budget and burn rate (Google's SRE workbook, chapters 2 and 5).
//!
//! With an objective of 99.99 % the budget is the 0.01 % of probes that may be bad. The burn rate of a window is
//! its bad share over that allowed share: 1 spends the budget exactly, 10 spends it ten times over.
//!
//! There is one reckoning, in probes. The budget in seconds is the same share of the time in which was probed, and what is left
//! of it the same share as of the probes, so that no figure says that something is left where the verdict says that nothing is:
//!
//! ```text
//! 99.9 %, 1,000 probes in 1 h, 3 bad:  1.0 probes allowed, −2.0 left = −200 %;  3.6 s allowed, −7.2 s left;  BREACHED
//! ```

use serde::Serialize;

/// With fewer probes than this a window is not judged.
pub(super) const PROBES_MIN: u64 = 5;
/// Share of the budget that may be consumed before a window is at risk.
const AT_RISK: f64 = 0.5;

/// How a window stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Too few probes to say.
    NotEnoughData,
    /// At most half of the budget is consumed.
    Ok,
    /// More than half is.
    AtRisk,
    /// All of it is, and more: the objective was missed.
    Breached,
}

impl Standing {
    /// In words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotEnoughData => "NOT ENOUGH DATA",
            Self::Ok => "OK",
            Self::AtRisk => "AT RISK",
            Self::Breached => "BREACHED",
        }
    }
}

/// One objective over one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Budget {
    /// Share of good probes; none without probes.
    pub ratio: Option<f64>,
    /// How it stands.
    pub status: Standing,
    /// Bad share over allowed share; none without probes.
    pub burn_rate: Option<f64>,
    /// Share of the budget that is left: 1 all, 0 none, negative when overspent; none without probes.
    pub remaining_ratio: Option<f64>,
    /// Bad probes that the objective allows, of those that there were.
    pub allowed_probes: f64,
    /// Bad probes.
    pub bad_probes: u64,
    /// Bad probes that are still allowed; negative when overspent.
    pub remaining_probes: f64,
    /// The budget as a share of the time in which was probed.
    pub budget_total_seconds: f64,
    /// What is left of it: the same share as of the probes; negative when overspent.
    pub budget_left_seconds: f64,
}

impl Budget {
    /// Of `total` probes within so many seconds, `good` were good and `objective` (above 0, below 1) should have been.
    #[must_use]
    pub fn of(total: u64, good: u64, objective: f64, probed_seconds: f64) -> Self {
        let bad = total.saturating_sub(good);
        let allowed = (1.0 - objective) * total as f64;
        let share = |part: f64| (total > 0).then(|| part / total as f64);
        let burn_rate = share(bad as f64).map(|bad_share| bad_share / (1.0 - objective));
        // 1 − 0.9999 is not quite 0.0001: one bad probe of exactly 10,000 must not breach.
        let exceeds = |limit: f64| bad as f64 > limit * (1.0 + 1e-9);
        let status = match total {
            ..PROBES_MIN => Standing::NotEnoughData,
            _ if exceeds(allowed) => Standing::Breached,
            _ if exceeds(allowed * AT_RISK) => Standing::AtRisk,
            _ => Standing::Ok,
        };
        // What is spent exactly is spent: not a billionth more, and no less than nothing is left.
        let rest = |burn: f64| if exceeds(allowed) { 1.0 - burn } else { (1.0 - burn).max(0.0) };
        let remaining_ratio = burn_rate.map(rest);
        let left = remaining_ratio.unwrap_or(1.0);
        let budget_total_seconds = (1.0 - objective) * probed_seconds;
        Self {
            ratio: share(good as f64),
            status,
            burn_rate,
            remaining_ratio,
            allowed_probes: allowed,
            bad_probes: bad,
            remaining_probes: allowed * left,
            budget_total_seconds,
            budget_left_seconds: budget_total_seconds * left,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn standings() {
        for (total, good, objective, status) in [
            (0, 0, 0.9999, Standing::NotEnoughData),
            (4, 0, 0.9999, Standing::NotEnoughData),
            (5, 5, 0.9999, Standing::Ok),
            (5, 4, 0.9999, Standing::Breached),
            (10_000, 9_999, 0.9999, Standing::AtRisk),
            (10_000, 9_998, 0.9999, Standing::Breached),
            (20_000, 19_999, 0.9999, Standing::Ok),
            (1_000, 995, 0.99, Standing::Ok),
            (1_000, 994, 0.99, Standing::AtRisk),
            (1_000, 990, 0.99, Standing::AtRisk),
            (1_000, 989, 0.99, Standing::Breached),
        ] {
            assert_eq!(
                Budget::of(total, good, objective, 60.0).status,
                status,
                "{good} of {total}"
            );
        }
    }

    #[test]
    fn an_exhausted_budget() {
        let budget = Budget::of(1_000, 980, 0.99, 3_600.0);
        assert_eq!(budget.ratio, Some(0.98));
        assert!((budget.burn_rate.unwrap() - 2.0).abs() < 1e-9);
        assert!((budget.remaining_ratio.unwrap() + 1.0).abs() < 1e-9);
        assert!((budget.allowed_probes - 10.0).abs() < 1e-9);
        assert!((budget.remaining_probes + 10.0).abs() < 1e-9);
        assert!((budget.budget_total_seconds - 36.0).abs() < 1e-6);
        assert!((budget.budget_left_seconds + 36.0).abs() < 1e-6);
        let nothing = Budget::of(0, 0, 0.99, 3_600.0);
        assert_eq!(nothing.remaining_ratio, None);
        assert_eq!(nothing.budget_left_seconds, nothing.budget_total_seconds);
    }

    #[test]
    fn of_what_is_spent_exactly_nothing_is_left() {
        for (total, bad, objective) in
            [(10_000, 1, 0.9999), (1_000, 10, 0.99), (1_000_000, 100, 0.9999)]
        {
            let budget = Budget::of(total, total - bad, objective, 600.0);
            assert_eq!(budget.status, Standing::AtRisk);
            let left = [budget.remaining_probes, budget.budget_left_seconds];
            assert!(left.iter().all(|left| (0.0..1e-6).contains(left)), "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn breached_is_below_the_objective(total in PROBES_MIN..1_000_000, bad in 0u64..2_000, per_mille in 1u64..1000) {
            prop_assume!(bad <= total);
            let budget = Budget::of(total, total - bad, per_mille as f64 / 1000.0, 3_600.0);
            // In whole numbers: bad / total > (1000 - per_mille) / 1000.
            let breached = bad * 1000 > (1000 - per_mille) * total;
            prop_assert_eq!(budget.status == Standing::Breached, breached);
            // No figure beside the verdict says anything else.
            prop_assert_eq!(budget.budget_left_seconds < 0.0, breached);
            prop_assert_eq!(budget.remaining_probes < 0.0, breached);
            prop_assert_eq!(budget.remaining_ratio < Some(0.0), breached);
        }
    }
}
