//! When somebody is told: alert policies, their conditions and targets.

use super::{
    super::{Alert, shape},
    Judge, shorthand,
};

/// Longest time that is looked back, or waited.
const SECONDS_MAX: u64 = 400 * 86_400;

impl Judge<'_> {
    pub(super) fn alerts(&mut self, spec: &shape::SloSpec) -> Vec<Alert> {
        let all = self.all;
        let mut alerts = Vec::new();
        for policy in spec.alert_policies.iter().flatten() {
            let at = &policy.referenced;
            match (&policy.value.alert_policy_ref, &policy.value.spec) {
                (Some(name), None) => match all.policies.get(&name.value) {
                    Some((file, before, spec)) => {
                        let mut judge = self.in_file(file, *before);
                        alerts.extend(judge.policy(&name.value, spec));
                        self.problems.append(&mut judge.problems);
                    }
                    None => {
                        self.undefined::<()>(name, "AlertPolicy", all.policies.keys().collect());
                    }
                },
                (None, Some(spec)) => {
                    let name = policy.value.metadata.as_ref().map_or("inline", |m| &m.name.value);
                    alerts.extend(self.policy(name, spec));
                }
                _ => {
                    let message = "give alertPolicyRef, or an AlertPolicy with its spec".to_owned();
                    self.refuse::<()>(at, message);
                }
            }
        }
        alerts
    }

    fn policy(&mut self, name: &str, spec: &shape::PolicySpec) -> Option<Alert> {
        let all = self.all;
        let [condition] = spec.conditions.value.as_slice() else {
            let message =
                format!("conditions has {} entries: give exactly one", spec.conditions.value.len());
            return self.refuse(&spec.conditions.referenced, message);
        };
        let (file, before, found) = match (&condition.condition_ref, &condition.spec) {
            (Some(name), None) => match all.conditions.get(&name.value) {
                Some((file, before, spec)) => (file.as_str(), *before, spec),
                None => {
                    return self.undefined(name, "AlertCondition", all.conditions.keys().collect());
                }
            },
            (None, Some(spec)) => (self.file, self.before, spec),
            _ => {
                let message = "give conditionRef, or an AlertCondition with its spec".to_owned();
                return self.refuse(&spec.conditions.referenced, message);
            }
        };
        let mut targets = Vec::new();
        for target in spec.notification_targets.iter().flatten() {
            match (&target.target_ref, &target.metadata) {
                (Some(name), _) if all.targets.contains_key(&name.value) => {
                    targets.push(name.value.clone());
                }
                (Some(name), _) => {
                    self.undefined::<()>(
                        name,
                        "AlertNotificationTarget",
                        all.targets.keys().collect(),
                    );
                }
                (None, Some(metadata)) => targets.push(metadata.name.value.clone()),
                (None, None) => {}
            }
        }
        let mut judge = self.in_file(file, before);
        let alert = judge.condition(name, found, spec, targets);
        self.problems.append(&mut judge.problems);
        alert
    }

    fn condition(
        &mut self,
        policy: &str,
        found: &shape::ConditionSpec,
        spec: &shape::PolicySpec,
        targets: Vec<String>,
    ) -> Option<Alert> {
        let condition = &found.condition;
        if let Some(kind) = condition.kind.as_ref().filter(|kind| kind.value != "burnrate") {
            let message = format!("condition kind {:?} is not known: use burnrate", kind.value);
            return self.refuse(&kind.referenced, message);
        }
        if let Some(op) = condition.op.as_ref().filter(|op| op.value != "gt") {
            let message = format!(
                "op {:?} is not supported: a burn rate is above its threshold, gt",
                op.value
            );
            return self.refuse(&op.referenced, message);
        }
        let threshold = &condition.threshold;
        if !(threshold.value > 0.0 && threshold.value.is_finite()) {
            let message = format!("threshold is {}: give a burn rate above 0", threshold.value);
            return self.refuse(&threshold.referenced, message);
        }
        let lookback = &condition.lookback_window;
        let duration = |text: &str| shorthand(text).filter(|seconds| *seconds <= SECONDS_MAX);
        let Some(lookback_seconds) = duration(&lookback.value) else {
            let message = format!(
                "lookbackWindow {:?} is not a duration of at most 400d: write it as 5m, 1h or 3d",
                lookback.value
            );
            return self.refuse(&lookback.referenced, message);
        };
        let after_seconds = match &condition.alert_after {
            None => 0,
            Some(after) if after.value == "0m" => 0,
            Some(after) => match duration(&after.value) {
                Some(seconds) => seconds,
                None => {
                    let message = format!(
                        "alertAfter {:?} is not a duration of at most 400d: write it as 0m, 5m or 1h",
                        after.value
                    );
                    return self.refuse(&after.referenced, message);
                }
            },
        };
        Some(Alert {
            policy: policy.to_owned(),
            severity: found.severity.clone(),
            threshold: threshold.value,
            lookback_seconds,
            after_seconds,
            breaching: spec.alert_when_breaching,
            no_data: spec.alert_when_no_data,
            targets,
        })
    }
}
