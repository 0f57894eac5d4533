//! How a histogram is written: in PromQL's text, in the API's JSON, and as the notation of tests.

use std::fmt::{self, Write as _};

use super::{Bucket, Histogram, ResetHint, Span, general};

impl fmt::Display for Bucket {
    /// `(0.5,1]:3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(general);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

impl fmt::Display for Histogram {
    /// `{count:3, sum:2.5, [-0.001,0.001]:1, (0.5,1]:2}`: buckets that are not empty, from the lowest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", general(self.count), general(self.sum))?;
        let negative: Vec<_> = self.negative().collect();
        let all = negative.into_iter().rev().chain([self.zero_bucket()]).chain(self.positive());
        for bucket in all.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl Histogram {
    /// The rows of `buckets` in the API's JSON: which bounds are in it ([`Bucket::boundaries`]), lower and upper bound,
    /// count; without empty ones. Numbers are written by [`json_number`](super::json_number).
    #[must_use]
    pub fn json_rows(&self) -> Vec<(u8, f64, f64, f64)> {
        let populated = self.buckets().into_iter().filter(|bucket| bucket.count != 0.0);
        populated.map(|b| (b.boundaries(), b.lower, b.upper, b.count)).collect()
    }

    /// The notation of test files, `{{schema:1 count:22 buckets:[5 10 7]}}`: what is not 0 or empty.
    #[must_use]
    pub fn notation(&self) -> String {
        let whole = self.clone().compact(super::INDEX_MAX as usize * 2);
        let mut fields = Vec::new();
        if self.schema != 0 {
            fields.push(format!("schema:{}", self.schema));
        }
        for (name, value) in [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ] {
            if value != 0.0 {
                fields.push(format!("{name}:{}", general(value)));
            }
        }
        if self.is_custom() {
            fields.push(format!("custom_values:{}", list(&self.custom_values)));
        }
        match self.reset_hint {
            ResetHint::Unknown => {}
            ResetHint::Reset => fields.push("counter_reset_hint:reset".to_owned()),
            ResetHint::NotReset => fields.push("counter_reset_hint:not_reset".to_owned()),
            ResetHint::Gauge => fields.push("counter_reset_hint:gauge".to_owned()),
        }
        side(&mut fields, "", &whole.positive_spans, &whole.positive_buckets);
        side(&mut fields, "n_", &whole.negative_spans, &whole.negative_buckets);
        format!("{{{{{}}}}}", fields.join(" "))
    }
}

fn side(fields: &mut Vec<String>, prefix: &str, spans: &[Span], buckets: &[f64]) {
    if let Some(offset) = spans.first().map(|span| span.offset).filter(|offset| *offset != 0) {
        fields.push(format!("{prefix}offset:{offset}"));
    }
    if !buckets.is_empty() {
        fields.push(format!("{prefix}buckets:{}", list(buckets)));
    }
}

fn list(values: &[f64]) -> String {
    let mut text = String::from("[");
    for (at, value) in values.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        let _ = write!(text, "{space}{}", general(*value));
    }
    text + "]"
}

#[cfg(test)]
mod tests {
    use crate::Histogram;

    #[test]
    fn table() {
        for (notation, text, rows) in [
            ("{{}}", "{count:0, sum:0}", vec![]),
            (
                "{{count:7 sum:20.5 z_bucket:1 z_bucket_w:0.001 offset:1 buckets:[2 0 4] n_buckets:[3]}}",
                "{count:7, sum:20.5, [-1,-0.5):3, [-0.001,0.001]:1, (1,2]:2, (4,8]:4}",
                vec![
                    (1, -1.0, -0.5, 3.0),
                    (3, -0.001, 0.001, 1.0),
                    (0, 1.0, 2.0, 2.0),
                    (0, 4.0, 8.0, 4.0),
                ],
            ),
            (
                "{{schema:-53 count:2e+06 custom_values:[5 10] buckets:[1 0 1e+06]}}",
                "{count:2e+06, sum:0, [-Inf,5]:1, (10,+Inf]:1e+06}",
                vec![(3, f64::NEG_INFINITY, 5.0, 1.0), (0, 10.0, f64::INFINITY, 1e6)],
            ),
            (
                "{{sum:NaN counter_reset_hint:gauge offset:-2 buckets:[0.5]}}",
                "{count:0, sum:NaN, (0.125,0.25]:0.5}",
                vec![(0, 0.125, 0.25, 0.5)],
            ),
        ] {
            let histogram = Histogram::parse(notation).expect(notation);
            assert_eq!(histogram.to_string(), text);
            assert_eq!(histogram.json_rows(), rows);
            assert_eq!(histogram.notation(), notation);
        }
    }
}
