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

/// By how much the time of a sample may be moved to where it was due, and by which part of the interval.
const MOVED_MS_MAX: i64 = 10;
const MOVED_PART: i64 = 100;

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
    times: Times,
    success: Labels,
    duration: Labels,
    /// Those of the last probe, in its order.
    facts: Vec<(Fact, Labels)>,
}

impl Series {
    /// Of a target that is probed every `interval_ms`.
    pub(crate) fn new(target: &TargetId, collector: &str, interval_ms: u64) -> Self {
        let success = target.labels("probe_success", collector);
        Self {
            times: Times::new(interval_ms),
            duration: success.renamed("probe_duration_seconds"),
            success,
            facts: Vec::new(),
        }
    }

    /// The samples of a probe that began at `at_ms`: whether it succeeded, how long it took, and its first `facts_max` facts.
    pub(crate) fn samples(&mut self, outcome: &Outcome, facts_max: usize, at_ms: i64) -> Samples {
        let timestamp_ms = self.times.of(at_ms);
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
        let more = fact.labels.iter().map(|(name, value)| (&**name, &**value));
        let own = self.success.iter().filter(|(name, _)| *name != METRIC_NAME);
        Labels::new(more.chain(own).chain([(METRIC_NAME, &*fact.name)]))
    }
}

/// The times of a target's samples. One that is a few milliseconds from where it was due is put there, as Prometheus
/// does: samples at equal distances take less room, and next to none where their values are equal, too.
struct Times {
    interval_ms: i64,
    last_ms: Option<i64>,
}

impl Times {
    fn new(interval_ms: u64) -> Self {
        Self { interval_ms: i64::try_from(interval_ms).unwrap_or(i64::MAX).max(1), last_ms: None }
    }

    fn of(&mut self, at_ms: i64) -> i64 {
        let time = self.last_ms.map_or(at_ms, |last| self.after(last, at_ms));
        self.last_ms = Some(time);
        time
    }

    fn after(&self, last: i64, at_ms: i64) -> i64 {
        let near = (self.interval_ms / MOVED_PART).min(MOVED_MS_MAX);
        let passed = at_ms.saturating_sub(last);
        let periods = passed.saturating_add(self.interval_ms / 2) / self.interval_ms;
        let due = last.saturating_add(periods.saturating_mul(self.interval_ms));
        if periods > 0 && at_ms.saturating_sub(due).abs() <= near {
            due
        } else if (-near..=0).contains(&passed) {
            // The last one was moved to here.
            last.saturating_add(1)
        } else {
            at_ms
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn outcome(facts: &[(&'static str, &str, f64)]) -> Outcome {
        let facts = facts.iter().map(|(name, phase, value)| Fact {
            name: (*name).into(),
            labels: vec![("phase".into(), (*phase).to_owned().into())],
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
        let mut series = Series::new(&id, "n", 1_000);
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

    #[test]
    fn a_sample_that_is_near_its_time_is_put_there() {
        for (interval_ms, began, times) in [
            (1_000, [100, 1_104, 2_097, 3_110], [100, 1_100, 2_100, 3_100]),
            // A missed run; one that is late, by which the others go from then on.
            (1_000, [100, 2_101, 3_150, 4_145], [100, 2_100, 3_150, 4_150]),
            // On edge, eight milliseconds after the one before.
            (1_000, [100, 1_091, 1_099, 1_111], [100, 1_100, 1_101, 1_111]),
            // A clock that is set back, or forth.
            (1_000, [5_000, 1_000, 2_001, 9_009], [5_000, 1_000, 2_000, 9_000]),
            (50, [100, 150, 201, 252], [100, 150, 201, 252]),
        ] {
            let mut all = Times::new(interval_ms);
            assert_eq!(began.map(|at_ms| all.of(at_ms)), times, "{interval_ms} {began:?}");
        }
    }

    proptest! {
        #[test]
        fn no_sample_is_moved_far_and_none_before_another(
            interval_ms in 10_u64..5_000,
            steps in prop::collection::vec(1_i64..5_000, 1..50),
        ) {
            let (mut times, mut at_ms, mut last) = (Times::new(interval_ms), 0, i64::MIN);
            for step in steps {
                at_ms += step;
                let time = times.of(at_ms);
                prop_assert!((time - at_ms).abs() <= MOVED_MS_MAX + 1, "{time} {at_ms}");
                prop_assert!(time > last);
                last = time;
            }
        }
    }
}
