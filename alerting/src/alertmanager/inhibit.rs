//! Inhibition: alerts that fire keep others quiet. Pure.

use std::collections::{HashMap, HashSet};

use watchkeep_catalog::{Alert, LabelSet, Time};

use super::{
    config,
    matcher::{Matcher, all_match},
    route::matchers,
};

/// One rule and the alerts that may be its sources, by their values of the labels that must be equal.
#[derive(Debug)]
struct Rule {
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<String>,
    sources: HashMap<Vec<String>, HashSet<u64>>,
}

impl Rule {
    fn values(&self, labels: &LabelSet) -> Vec<String> {
        self.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect()
    }
}

/// All rules.
#[derive(Debug, Default)]
pub(crate) struct Inhibitor {
    rules: Vec<Rule>,
}

impl Inhibitor {
    /// # Errors
    /// When a matcher cannot be read.
    pub(crate) fn new(rules: &[config::InhibitRule]) -> Result<Self, String> {
        let compile = |rule: &config::InhibitRule| {
            Ok(Rule {
                source: matchers(&rule.source_match, &rule.source_match_re, &rule.source_matchers)?,
                target: matchers(&rule.target_match, &rule.target_match_re, &rule.target_matchers)?,
                equal: rule.equal.clone(),
                sources: HashMap::new(),
            })
        };
        Ok(Self { rules: rules.iter().map(compile).collect::<Result<_, String>>()? })
    }

    /// An alert is there; whether it fires is asked when it matters.
    pub(crate) fn insert(&mut self, fingerprint: u64, labels: &LabelSet) {
        for rule in &mut self.rules {
            if all_match(&rule.source, labels) {
                let values = rule.values(labels);
                rule.sources.entry(values).or_default().insert(fingerprint);
            }
        }
    }

    /// An alert is gone.
    pub(crate) fn remove(&mut self, fingerprint: u64, labels: &LabelSet) {
        for rule in &mut self.rules {
            let values = rule.values(labels);
            if let Some(sources) = rule.sources.get_mut(&values) {
                sources.remove(&fingerprint);
                if sources.is_empty() {
                    rule.sources.remove(&values);
                }
            }
        }
    }

    /// Whether an alert with these labels may keep others quiet.
    pub(crate) fn may_inhibit(&self, labels: &LabelSet) -> bool {
        self.rules.iter().any(|rule| all_match(&rule.source, labels))
    }

    /// The alerts that keep this one quiet at `now`, one of each rule. Who is source and target of a rule at once is
    /// not kept quiet by another that is, too.
    pub(crate) fn inhibited_by<'a>(
        &self,
        labels: &LabelSet,
        now: Time,
        alert: impl Fn(u64) -> Option<&'a Alert>,
    ) -> Vec<u64> {
        let by = |rule: &Rule| {
            if !all_match(&rule.target, labels) {
                return None;
            }
            let both = all_match(&rule.source, labels);
            let sources = rule.sources.get(&rule.values(labels))?;
            let fires = |fingerprint: &&u64| {
                alert(**fingerprint).is_some_and(|source| {
                    let is_target_too = both && all_match(&rule.target, &source.labels);
                    !source.is_resolved(now) && !is_target_too
                })
            };
            sources.iter().filter(fires).min().copied()
        };
        self.rules.iter().filter_map(by).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alertmanager::fixtures::alert, fixtures::time};

    #[test]
    fn the_same_cluster_only_and_not_each_other() {
        let yaml = "[{source_matchers: ['severity=critical'], target_matchers: ['severity=~\"critical|warning\"'], equal: [cluster]}]";
        let rules: Vec<config::InhibitRule> = serde_saphyr::from_str(yaml).unwrap();
        let mut inhibitor = Inhibitor::new(&rules).unwrap();
        let critical = alert(&[("severity", "critical"), ("cluster", "a")], 0, Some(100));
        let at = critical.fingerprint();
        inhibitor.insert(at, &critical.labels);
        assert!(inhibitor.may_inhibit(&critical.labels));
        assert!(!inhibitor.may_inhibit(&LabelSet::new()));
        let find = |fingerprint| (fingerprint == at).then_some(&critical);
        for (labels, seconds, expected) in [
            (&[("severity", "warning"), ("cluster", "a")][..], 50, vec![at]),
            (&[("severity", "warning"), ("cluster", "b")], 50, vec![]),
            (&[("severity", "warning")], 50, vec![]),
            (&[("severity", "warning"), ("cluster", "a")], 100, vec![]),
            (&[("severity", "critical"), ("cluster", "a"), ("x", "y")], 50, vec![]),
            (&[("severity", "info"), ("cluster", "a")], 50, vec![]),
        ] {
            let labels = alert(labels, 0, None).labels;
            assert_eq!(
                inhibitor.inhibited_by(&labels, time(seconds), find),
                expected,
                "{labels:?}"
            );
        }
        inhibitor.remove(at, &critical.labels);
        assert!(inhibitor.rules[0].sources.is_empty());
    }
}
