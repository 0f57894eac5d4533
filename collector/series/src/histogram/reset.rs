//! Whether a counter began anew between two samples.

use super::{
    Histogram, ResetHint, custom,
    parts::{Cells, Parts},
};

impl Histogram {
    /// Whether the counter was reset between `previous` and this sample: by the hint where there is one; else when any
    /// count fell, a populated bucket vanished, or the buckets became finer, which only a new histogram's can.
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.reset_hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        let mut previous = Parts::<f64>::of(previous);
        let mut now = Parts::<f64>::of(self);
        if self.is_custom() {
            if previous.schema != self.schema {
                return true;
            }
            if !custom::same(&self.custom_values, &previous.custom_values) {
                let common = custom::intersect(&self.custom_values, &previous.custom_values);
                now.rebucket(&common);
                previous.rebucket(&common);
            }
            return fell(&now.positive, &previous.positive);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        previous.widen_zero(self.zero_threshold);
        if previous.zero_threshold != self.zero_threshold || self.zero_count < previous.zero {
            return true;
        }
        previous.reduce(self.schema);
        fell(&now.positive, &previous.positive) || fell(&now.negative, &previous.negative)
    }

    /// The hint of this sample for a reader who has `previous` before it, as a store knows it that keeps runs of samples
    /// with one layout: within a run a counter was not reset; at the start of one nothing is said, since the run before
    /// may be gone when this one is read.
    #[must_use]
    pub fn hint_after(&self, previous: Option<&Self>) -> ResetHint {
        let Some(previous) = previous.filter(|_| self.reset_hint != ResetHint::Gauge) else {
            return if self.reset_hint == ResetHint::Gauge {
                ResetHint::Gauge
            } else {
                ResetHint::Unknown
            };
        };
        let continues = previous.reset_hint != ResetHint::Gauge
            && self.reset_hint != ResetHint::Reset
            && self.schema == previous.schema
            && self.zero_threshold == previous.zero_threshold
            && custom::same(&self.custom_values, &previous.custom_values)
            && !Self { reset_hint: ResetHint::Unknown, ..self.clone() }.detect_reset(previous);
        if continues { ResetHint::NotReset } else { ResetHint::Unknown }
    }
}

/// Whether any populated bucket of `previous` is missing or has less.
fn fell(now: &Cells<f64>, previous: &Cells<f64>) -> bool {
    let mut now = now.iter().peekable();
    previous.iter().any(|(index, count)| {
        while now.next_if(|(i, _)| i < index).is_some() {}
        match now.peek() {
            Some((i, current)) if i == index => current < count,
            _ => *count != 0.0,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    proptest! {
        /// What only grows was not reset, whatever it is compared at; the other way round it was.
        #[test]
        fn growth_is_no_reset(start in testing::exponential(), more in testing::exponential()) {
            let mut later = start.clone();
            later.add(&more).expect("same kind");
            prop_assert!(!later.detect_reset(&start));
            if more.count > 0.0 {
                prop_assert!(start.detect_reset(&later));
            }
        }

        #[test]
        fn custom_growth_is_no_reset(start in testing::custom(), more in testing::custom()) {
            let mut later = start.clone();
            later.add(&more).expect("same kind");
            prop_assert!(!later.detect_reset(&start));
        }
    }

    #[test]
    fn table() {
        let h = |buckets: &[f64]| Histogram {
            count: 10.0,
            positive_spans: vec![super::super::Span { offset: 0, length: buckets.len() as u32 }],
            positive_buckets: buckets.to_vec(),
            ..Histogram::default()
        };
        let hinted = |reset_hint, buckets: &[f64]| Histogram { reset_hint, ..h(buckets) };
        let zero = |zero_threshold, zero_count| Histogram { zero_threshold, zero_count, ..h(&[]) };
        for (name, now, before, reset) in [
            ("same", h(&[1.0, 2.0]), h(&[1.0, 2.0]), false),
            ("one less", h(&[1.0, 1.0]), h(&[1.0, 2.0]), true),
            ("bucket gone", h(&[3.0]), h(&[1.0, 2.0]), true),
            ("empty bucket gone", h(&[3.0]), h(&[1.0, 0.0]), false),
            ("hint says so", hinted(ResetHint::Reset, &[2.0]), h(&[1.0]), true),
            ("hint says not", hinted(ResetHint::NotReset, &[1.0]), h(&[2.0]), false),
            ("finer", Histogram { schema: 1, ..h(&[]) }, h(&[]), true),
            ("coarser", Histogram { schema: -1, ..h(&[]) }, h(&[]), false),
            ("custom before", h(&[]), Histogram { schema: -53, ..h(&[]) }, true),
            ("custom now", Histogram { schema: -53, ..h(&[]) }, h(&[]), true),
            ("zero bucket less", zero(1.0, 1.0), zero(1.0, 2.0), true),
            ("zero bucket narrower", zero(0.5, 3.0), zero(1.0, 2.0), true),
            ("zero bucket wider", zero(2.0, 3.0), zero(1.0, 2.0), false),
            ("across the threshold", zero(0.75, 30.0), h(&[1.0]), true),
        ] {
            assert_eq!(now.detect_reset(&before), reset, "{name}");
        }
    }

    #[test]
    fn hints_of_a_store() {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let h = |reset_hint, count| Histogram { reset_hint, count, ..Histogram::default() };
        for (now, before, hint) in [
            (h(Unknown, 1.0), None, Unknown),
            (h(Gauge, 1.0), None, Gauge),
            (h(Unknown, 1.0), Some(h(Unknown, 1.0)), NotReset),
            (h(Unknown, 0.0), Some(h(NotReset, 1.0)), Unknown),
            (h(Reset, 2.0), Some(h(NotReset, 1.0)), Unknown),
            (h(Unknown, 2.0), Some(h(Gauge, 1.0)), Unknown),
            (h(Gauge, 2.0), Some(h(Unknown, 1.0)), Gauge),
            (Histogram { schema: -1, ..h(Unknown, 2.0) }, Some(h(Unknown, 1.0)), Unknown),
        ] {
            assert_eq!(now.hint_after(before.as_ref()), hint, "{now:?} after {before:?}");
        }
    }
}
