//! A probe's samples (a scrape makes its own), and where they go: to the local store's thread, and to every receiver of remote write. Never waits.

use std::sync::Arc;

use watchkeep_series::{Labels, METRIC_NAME, Sample};

use crate::{
    keeper::{Local, Samples},
    metrics::Metrics,
    probe::{Fact, Outcome},
    remote_write::Receivers,
    target::TargetId,
};

/// Takes samples. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) local: Local,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) metrics: Metrics,
}

impl Sink {
    pub(crate) fn push(&self, samples: Samples) {
        self.receivers.push(&samples);
        if let Err(lost) = self.local.offer(samples) {
            self.metrics.samples_dropped.inc_by(lost as u64);
        }
    }
}

/// Labels of a target's samples, made once: a probe says the same facts each time, mostly in the same order.
pub(crate) struct Series {
    success: Labels,
    duration: Labels,
    /// Those of the last probe, in its order.
    facts: Vec<(Fact, Labels)>,
}

impl Series {
    pub(crate) fn new(target: &TargetId, collector: &str) -> Self {
        let success = target.labels("probe_success", collector);
        let duration = success.renamed("probe_duration_seconds");
        Self { success, duration, facts: Vec::new() }
    }

    /// The samples of a probe: whether it succeeded, how long it took, and its first `facts_max` facts.
    pub(crate) fn samples(
        &mut self,
        outcome: &Outcome,
        facts_max: usize,
        timestamp_ms: i64,
    ) -> Samples {
        let sample = |value| Sample { timestamp_ms, value };
        let mut samples = Vec::with_capacity(2 + outcome.facts.len().min(facts_max));
        samples.push((self.success.clone(), sample(f64::from(u8::from(outcome.good)))));
        samples.push((self.duration.clone(), sample(outcome.duration.as_secs_f64())));
        for (at, fact) in outcome.facts.iter().take(facts_max).enumerate() {
            samples.push((self.labels(at, fact), sample(fact.value)));
        }
        // What was not said this time may never be said again.
        self.facts.truncate(outcome.facts.len());
        samples
    }

    fn labels(&mut self, at: usize, fact: &Fact) -> Labels {
        let is_same =
            |(known, _): &&(Fact, Labels)| known.name == fact.name && known.labels == fact.labels;
        if let Some((_, labels)) = self.facts.get(at).filter(is_same) {
            return labels.clone();
        }
        let found = self.facts.iter().find(is_same).map(|(_, labels)| labels.clone());
        let labels = found.unwrap_or_else(|| self.of_fact(fact));
        let entry = (fact.clone(), labels.clone());
        if at < self.facts.len() {
            self.facts[at] = entry
        } else {
            self.facts.push(entry)
        }
        labels
    }

    /// The target's own win over the fact's.
    fn of_fact(&self, fact: &Fact) -> Labels {
        let more = fact.labels.iter().map(|(name, value)| (&**name, value.as_str()));
        let own = self.success.iter().filter(|(name, _)| *name != METRIC_NAME);
        Labels::new(more.chain(own).chain([(METRIC_NAME, &*fact.name)]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(facts: &[(&'static str, &str, f64)]) -> Outcome {
        let facts = facts.iter().map(|(name, phase, value)| Fact {
            name: (*name).into(),
            labels: vec![("phase".into(), (*phase).to_owned())],
            value: *value,
        });
        Outcome {
            good: true,
            duration: Duration::from_millis(250),
            facts: facts.collect(),
            ..Outcome::never("")
        }
    }

    #[test]
    fn facts_become_samples_with_the_targets_labels() {
        let id = TargetId::new("web", "a", "c");
        let mut series = Series::new(&id, "n");
        let mut said = |facts: &[_]| -> Vec<String> {
            let samples = series.samples(&outcome(facts), 2, 7);
            samples.iter().map(|(labels, s)| format!("{labels} {}", s.value)).collect()
        };
        let target = r#"check="c",collector="n",instance="a""#;
        let own = [
            format!(r#"probe_success{{{target},service="web"}} 1"#),
            format!(r#"probe_duration_seconds{{{target},service="web"}} 0.25"#),
        ];
        assert_eq!(said(&[]), own);
        let fact = |phase, value| format!(r#"x{{{target},phase="{phase}",service="web"}} {value}"#);
        let (one, two) = (fact("one", 1), fact("two", 2));
        assert_eq!(said(&[("x", "one", 1.0), ("x", "two", 2.0)])[2..], [one.clone(), two.clone()]);
        assert_eq!(said(&[("x", "two", 2.0), ("x", "one", 1.0)])[2..], [two, one.clone()]);
        let said_last = said(&[("x", "one", 1.0)]);
        assert_eq!((said_last.len(), &said_last[2]), (3, &one));
        let three = [("x", "one", 1.0), ("x", "two", 2.0), ("x", "three", 3.0)];
        assert_eq!(said(&three).len(), 4, "two facts at most");
    }
}
