//! What triggers policies, in PromQL: the same for the leader that asks and for a backtest over history. Pure.

use crate::{
    alertmanager::parse_matcher,
    config::{BurnRate, When},
    rule::parse_duration,
};

/// The share of a service's probes that failed, over the window of a burn rate.
pub(crate) fn failed_share(service: &str, burn: &BurnRate) -> String {
    let series = format!("probe_success{{service={service:?}}}[{}]", burn.window);
    format!("1 - sum(sum_over_time({series})) / sum(count_over_time({series}))")
}

/// What has a series while an alert, or a burn rate, triggers a policy. `promised` is the share of good probes that the
/// service promises.
///
/// # Errors
/// What is wrong with the trigger.
pub fn expression(when: &When, promised: f64) -> Result<String, String> {
    if let (Some(burn), Some(service)) = (&when.burn_rate, &when.service) {
        parse_duration(&burn.window)?;
        let budget = 1.0 - burn.objective.unwrap_or(promised);
        return Ok(format!("({}) / {budget} > {}", failed_share(service, burn), burn.above));
    }
    let mut matchers = vec!["alertstate=\"firing\"".to_owned()];
    for matcher in &when.alert {
        matchers.push(parse_matcher(matcher)?.to_string());
    }
    Ok(format!("ALERTS{{{}}}", matchers.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn alerts_and_budgets() {
        let of = |when| expression(&serde_json::from_value(when).unwrap(), 0.75);
        let alert = of(json!({"alert": ["alertname=Full", "severity=~\"page|critical\""]}));
        assert_eq!(
            alert.as_deref(),
            Ok("ALERTS{alertstate=\"firing\",alertname=\"Full\",severity=~\"page|critical\"}")
        );
        assert!(of(json!({"alert": ["nonsense"]})).is_err());
        let burn = |more: serde_json::Value| {
            let mut burn = json!({"above": 14.4, "window": "5m"});
            burn.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(json!({"service": "db", "burn_rate": burn}))
        };
        let series = "probe_success{service=\"db\"}[5m]";
        let share = format!("1 - sum(sum_over_time({series})) / sum(count_over_time({series}))");
        assert_eq!(burn(json!({})), Ok(format!("({share}) / 0.25 > 14.4")));
        assert_eq!(burn(json!({"objective": 0.5})), Ok(format!("({share}) / 0.5 > 14.4")));
        assert!(burn(json!({"window": "x"})).is_err());
    }
}
