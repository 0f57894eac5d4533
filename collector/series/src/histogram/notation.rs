//! The notation of test files: `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`, and sequences of it.

use super::{BUCKETS_MAX, CUSTOM_SCHEMA, Histogram, HistogramError, ResetHint, Span};

/// Most samples that one item of a sequence may stand for.
const TIMES_MAX: usize = 100_000;

impl Histogram {
    /// Reads one histogram; the double braces are part of it. Fields may come in any order, each once: `schema`, `sum`,
    /// `count`, `z_bucket`, `z_bucket_w`, `offset`, `buckets`, `n_offset`, `n_buckets`, `custom_values`,
    /// `counter_reset_hint` (`unknown`, `reset`, `not_reset`, `gauge`). Whether it is a sound histogram is
    /// [`Histogram::validate`]'s question.
    ///
    /// # Errors
    /// Names the field that cannot be read.
    pub fn parse(text: &str) -> Result<Self, HistogramError> {
        let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let inner = inner.ok_or_else(|| wrong(format!("{text:?} is not within {{{{ and }}}}")))?;
        let mut histogram = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        let (mut offset, mut n_offset) = (0, 0);
        for field in fields(inner)? {
            let (name, value) = field
                .split_once(':')
                .ok_or_else(|| wrong(format!("{field:?} is not of the form name:value")))?;
            if seen.contains(&name) {
                return Err(wrong(format!("{name} is given twice")));
            }
            seen.push(name);
            match name {
                "schema" => histogram.schema = whole(name, value)?,
                "sum" => histogram.sum = number(name, value)?,
                "count" => histogram.count = number(name, value)?,
                "z_bucket" => histogram.zero_count = number(name, value)?,
                "z_bucket_w" => histogram.zero_threshold = number(name, value)?,
                "offset" => offset = whole(name, value)?,
                "n_offset" => n_offset = whole(name, value)?,
                "buckets" => histogram.positive_buckets = list(name, value)?,
                "n_buckets" => histogram.negative_buckets = list(name, value)?,
                "custom_values" => histogram.custom_values = list(name, value)?,
                "counter_reset_hint" => histogram.reset_hint = hint(value)?,
                _ => return Err(wrong(format!("field {name:?} is unknown"))),
            }
        }
        histogram.positive_spans = one_span(offset, &histogram.positive_buckets);
        histogram.negative_spans = one_span(n_offset, &histogram.negative_buckets);
        Ok(histogram)
    }

    /// What `{{…}}+{{…}}xN` stands for: this histogram, then `times` more, each the one before plus `step`.
    ///
    /// # Errors
    /// When the two cannot be added, or the steps are coarser than this histogram.
    pub fn rising(&self, step: &Self, times: usize) -> Result<Vec<Self>, HistogramError> {
        self.sequence(step, times, |histogram| histogram.add(step).map(drop))
    }

    /// What `{{…}}-{{…}}xN` stands for.
    ///
    /// # Errors
    /// As [`Self::rising`].
    pub fn falling(&self, step: &Self, times: usize) -> Result<Vec<Self>, HistogramError> {
        self.sequence(step, times, |histogram| histogram.sub(step).map(drop))
    }

    fn sequence(
        &self,
        step: &Self,
        times: usize,
        change: impl Fn(&mut Self) -> Result<(), HistogramError>,
    ) -> Result<Vec<Self>, HistogramError> {
        if times > TIMES_MAX {
            return Err(wrong(format!("x{times} is more than {TIMES_MAX}")));
        }
        if step.schema < self.schema && step.schema != CUSTOM_SCHEMA && times > 0 {
            return Err(HistogramError::Resolution { from: step.schema, to: self.schema });
        }
        let mut all = vec![self.clone()];
        for _ in 0..times {
            let mut next = all[all.len() - 1].clone();
            change(&mut next)?;
            all.push(next);
        }
        Ok(all)
    }
}

fn wrong(message: String) -> HistogramError {
    HistogramError::Notation(message)
}

/// Splits at white space, but not within brackets.
fn fields(text: &str) -> Result<Vec<&str>, HistogramError> {
    let mut fields = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let until = match (rest.find('['), rest.find(char::is_whitespace)) {
            (Some(open), space) if space.is_none_or(|space| open < space) => {
                rest.find(']').ok_or_else(|| wrong(format!("{rest:?} has no closing bracket")))? + 1
            }
            (_, space) => space.unwrap_or(rest.len()),
        };
        let (field, more) = rest.split_at(until);
        fields.push(field);
        rest = more.trim_start();
    }
    Ok(fields)
}

fn number(name: &str, value: &str) -> Result<f64, HistogramError> {
    value.trim().parse().map_err(|_| wrong(format!("{name}: {value:?} is not a number")))
}

fn whole(name: &str, value: &str) -> Result<i32, HistogramError> {
    value.trim().parse().map_err(|_| wrong(format!("{name}: {value:?} is not a whole number")))
}

fn list(name: &str, value: &str) -> Result<Vec<f64>, HistogramError> {
    let inner = value.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner =
        inner.ok_or_else(|| wrong(format!("{name}: {value:?} is not a list in brackets")))?;
    let values: Vec<f64> = inner
        .split_ascii_whitespace()
        .map(|value| number(name, value))
        .collect::<Result<_, _>>()?;
    if values.len() > BUCKETS_MAX {
        return Err(HistogramError::BucketsMax(values.len()));
    }
    Ok(values)
}

fn hint(value: &str) -> Result<ResetHint, HistogramError> {
    Ok(match value {
        "unknown" => ResetHint::Unknown,
        "reset" => ResetHint::Reset,
        "not_reset" => ResetHint::NotReset,
        "gauge" => ResetHint::Gauge,
        _ => return Err(wrong(format!("counter_reset_hint: {value:?} is unknown"))),
    })
}

fn one_span(offset: i32, buckets: &[f64]) -> Vec<Span> {
    if buckets.is_empty() {
        Vec::new()
    } else {
        vec![Span { offset, length: buckets.len() as u32 }]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    proptest! {
        #[test]
        fn round_trip(one in testing::exponential(), other in testing::custom()) {
            for histogram in [one, other] {
                let text = histogram.notation();
                let back = Histogram::parse(&text).expect("our own");
                prop_assert!(back.compact(0).equals(&histogram.compact(0)), "{text}");
            }
        }

        #[test]
        fn garbage_is_an_error_at_worst(text in "\\{\\{[a-z_:0-9. \\[\\]+-]{0,60}\\}\\}") {
            if let Ok(histogram) = Histogram::parse(&text) {
                let _ = (histogram.validate(), histogram.to_string(), histogram.notation());
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, wrong) in [
            ("{schema:0}", "is not within {{ and }}"),
            ("{{schema}}", "not of the form name:value"),
            ("{{sum:1 sum:2}}", "sum is given twice"),
            ("{{sum:x}}", "sum: \"x\" is not a number"),
            ("{{schema:1.5}}", "schema: \"1.5\" is not a whole number"),
            ("{{buckets:[1 2}}", "no closing bracket"),
            ("{{buckets:1}}", "is not a list"),
            ("{{z:1}}", "field \"z\" is unknown"),
            ("{{counter_reset_hint:no}}", "\"no\" is unknown"),
        ] {
            let error = Histogram::parse(text).expect_err(text).to_string();
            assert!(error.contains(wrong), "{error} should contain {wrong}");
        }
    }

    #[test]
    fn sequences() {
        let parse = |text| Histogram::parse(text).expect(text);
        let base = parse("{{schema:-1 sum:4 count:1 buckets:[1] offset:1}}");
        let step = parse("{{schema:0 sum:4 count:4 buckets:[2 2] offset:1}}");
        let rising = base.rising(&step, 2).expect("finer steps");
        let texts: Vec<_> = rising.iter().map(Histogram::notation).collect();
        assert_eq!(
            texts,
            [
                "{{schema:-1 count:1 sum:4 offset:1 buckets:[1]}}",
                "{{schema:-1 count:5 sum:8 offset:1 buckets:[5]}}",
                "{{schema:-1 count:9 sum:12 offset:1 buckets:[9]}}",
            ]
        );
        assert!(step.rising(&base, 1).is_err());
        let falling = rising[2].falling(&step, 2).expect("finer steps");
        assert_eq!(falling[2].notation(), texts[0]);
        assert!(base.rising(&step, TIMES_MAX + 1).is_err());
    }
}
