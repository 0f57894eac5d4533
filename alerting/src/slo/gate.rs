//! Whether the budget lets a release through: what `GET /v1/slo/{service}/gate` says to CI. Pure.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Time, check_name};

use super::{
    budget::Standing,
    detail::{CONFIRMING, Detail},
    range::{Range, Wish},
    time::DAY_MS,
};

/// What is done as a budget is spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetPolicy {
    /// Unique.
    pub name: String,
    /// The services that it is about; empty: all for which no other policy stands before it.
    pub services: Vec<String>,
    /// Over which window: `30d`, `month`.
    pub window: String,
    /// With less than this share of the budget left the gate warns.
    pub warn_below: f64,
    /// With no more than this share left it is shut.
    pub freeze_below: f64,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            services: Vec::new(),
            window: "30d".to_owned(),
            warn_below: 0.25,
            freeze_below: 0.0,
        }
    }
}

impl BudgetPolicy {
    /// What is wrong with it: field and message. `twice`: another one has its name.
    pub(super) fn validate(&self, retention_days: u16, twice: bool) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Err(error) = check_name("policy", &self.name) {
            wrong.push(("name", error.to_string()));
        } else if twice {
            let message =
                format!("{:?} stands here twice: give each policy its own name", self.name);
            wrong.push(("name", message));
        }
        let wish = Wish { window: Some(&self.window), ..Wish::default() };
        // Any time will do that is long after 1970.
        if let Err(message) = Range::of(wish, Tz::UTC, 1_000 * DAY_MS, retention_days) {
            wrong.push(("window", message));
        }
        let share = |value: f64| value.is_finite() && (-10.0..=1.0).contains(&value);
        for (field, value) in [("warn_below", self.warn_below), ("freeze_below", self.freeze_below)]
        {
            if !share(value) {
                wrong.push((field, format!("{value} is not a share of the budget: give -10 to 1")));
            }
        }
        if self.warn_below < self.freeze_below {
            let message = format!(
                "{} is below freeze_below ({}): give as much or more, so that it warns before it freezes",
                self.warn_below, self.freeze_below
            );
            wrong.push(("warn_below", message));
        }
        wrong
    }
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Release.
    Open,
    /// Release with care.
    Warn,
    /// Release nothing but what makes it better.
    Frozen,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// The service.
    pub service: String,
    /// Whether to release.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
    /// The policy that decided.
    pub policy: String,
    /// Over which window.
    pub window: String,
    /// How the service stands in it.
    pub status: Standing,
    /// What is left of the budget that is nearer to its end; none without probes.
    pub budget_left_ratio: Option<f64>,
    /// The same of availability, in time.
    pub budget_left_seconds: f64,
    /// When it runs out at this rate.
    pub runs_out_at: Option<Time>,
}

impl Gate {
    /// What `policy` makes of a report over its window.
    pub(super) fn of(policy: &BudgetPolicy, detail: &Detail) -> Self {
        let both = [("availability", &detail.availability), ("latency", &detail.latency)];
        let left = |which: &&(&str, &super::detail::Attainment)| which.1.budget.remaining_ratio;
        let judged = detail.status != Standing::NotEnoughData;
        let least = both
            .iter()
            .filter(|which| judged && left(which).is_some())
            .min_by(|a, b| left(a).unwrap_or(1.0).total_cmp(&left(b).unwrap_or(1.0)));
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let (verdict, reason) = match least.and_then(|which| Some((which, left(&which)?))) {
            None => (
                Verdict::Open,
                "not enough probes to judge: nothing is held against a release".to_owned(),
            ),
            Some(((slo, attained), left)) => {
                let bad = attained.budget.bad_probes;
                let said = format!(
                    "{} of the {slo} budget is left over {} ({bad} bad probes, {:.1} allowed)",
                    percent(left),
                    detail.window,
                    attained.budget.allowed_probes
                );
                // 1 − 0.9999 is not quite 0.0001: a budget that is spent exactly is not spent by more.
                let frozen = left <= policy.freeze_below + 1e-9;
                if frozen && bad < CONFIRMING {
                    let doubt = format!("{said}; fewer than {CONFIRMING} bad probes shut nothing");
                    (Verdict::Warn, doubt)
                } else if frozen {
                    let limit = percent(policy.freeze_below);
                    (Verdict::Frozen, format!("{said}; policy {} freezes at {limit}", policy.name))
                } else if left < policy.warn_below {
                    let limit = percent(policy.warn_below);
                    (Verdict::Warn, format!("{said}; policy {} warns below {limit}", policy.name))
                } else {
                    (Verdict::Open, said)
                }
            }
        };
        let runs_out = [detail.availability.runs_out_at, detail.latency.runs_out_at];
        Self {
            service: detail.service.clone(),
            verdict,
            reason,
            policy: policy.name.clone(),
            window: detail.window.clone(),
            status: detail.status,
            budget_left_ratio: least.and_then(|which| left(&which)),
            budget_left_seconds: detail.availability.budget.budget_left_seconds,
            runs_out_at: runs_out.into_iter().flatten().min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::detail::tests::detail;

    #[test]
    fn opens_warns_and_shuts() {
        let policy = BudgetPolicy::default();
        for (total, bad, verdict, part) in [
            (0, 0, Verdict::Open, "not enough probes"),
            (100_000, 0, Verdict::Open, "100.0 % of the availability budget is left"),
            (100_000, 8, Verdict::Warn, "warns below 25.0 %"),
            (100_000, 10, Verdict::Frozen, "freezes at 0.0 %"),
            (100_000, 20, Verdict::Frozen, "-100.0 % of the"),
            // A single failed probe of few overspends the budget, and means nothing.
            (360, 1, Verdict::Warn, "fewer than 3 bad probes"),
        ] {
            let gate = Gate::of(&policy, &detail(total, bad));
            assert_eq!(gate.verdict, verdict, "{total} {bad} {}", gate.reason);
            assert!(gate.reason.contains(part), "{}", gate.reason);
        }
    }
}
