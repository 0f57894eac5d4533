//! Error budget and burn rate (Google's SRE workbook, chapters 2 and 5).
//!
//! With an objective of 99.99 % the budget is the 0.01 % of probes that may be bad. The burn rate of a window is
//! its bad share over that allowed share: 1 spends the budget exactly, 10 spends it ten times over.

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
}

impl Budget {
    /// Of `total` probes, `good` were good and `objective` (above 0, below 1) should have been.
    #[must_use]
    pub fn of(total: u64, good: u64, objective: f64) -> Self {
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
        Self {
            ratio: share(good as f64),
            status,
            burn_rate,
            remaining_ratio: burn_rate.map(|burn| 1.0 - burn),
            allowed_probes: allowed,
            bad_probes: bad,
            remaining_probes: allowed - bad as f64,
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
            assert_eq!(Budget::of(total, good, objective).status, status, "{good} of {total}");
        }
    }

    #[test]
    fn an_exhausted_budget() {
        let budget = Budget::of(1_000, 980, 0.99);
        assert_eq!(budget.ratio, Some(0.98));
        assert!((budget.burn_rate.unwrap() - 2.0).abs() < 1e-9);
        assert!((budget.remaining_ratio.unwrap() + 1.0).abs() < 1e-9);
        assert!((budget.allowed_probes - 10.0).abs() < 1e-9);
        assert!((budget.remaining_probes + 10.0).abs() < 1e-9);
        assert_eq!(Budget::of(0, 0, 0.99).remaining_ratio, None);
    }

    proptest! {
        #[test]
        fn breached_is_below_the_objective(total in PROBES_MIN..1_000_000, bad in 0u64..2_000, per_mille in 1u64..1000) {
            prop_assume!(bad <= total);
            let budget = Budget::of(total, total - bad, per_mille as f64 / 1000.0);
            // In whole numbers: bad / total > (1000 - per_mille) / 1000.
            let breached = bad * 1000 > (1000 - per_mille) * total;
            prop_assert_eq!(budget.status == Standing::Breached, breached);
        }
    }
}
