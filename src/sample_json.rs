//! Samples as Prometheus's API prints them: times and native histograms. Pure.

use watchkeep_series::{Histogram, json_number};

/// Seconds, with three digits behind the point where they are not zero.
pub(crate) fn seconds(ms: i64) -> String {
    let (whole, rest) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
    let sign = if ms < 0 { "-" } else { "" };
    if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:03}") }
}

/// A native histogram: `{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}`, empty buckets left out. A bucket begins with which of
/// its bounds it includes: 0 the upper, 1 the lower, 2 none, 3 both.
pub(crate) fn histogram(histogram: &Histogram) -> String {
    let mut text = format!(
        r#"{{"count":"{}","sum":"{}""#,
        json_number(histogram.count),
        json_number(histogram.sum)
    );
    let buckets: Vec<String> = histogram
        .buckets()
        .into_iter()
        .filter(|bucket| bucket.count != 0.0)
        .map(|bucket| {
            let (lower, upper) = (json_number(bucket.lower), json_number(bucket.upper));
            let count = json_number(bucket.count);
            format!(r#"[{},"{lower}","{upper}","{count}"]"#, bucket.boundaries())
        })
        .collect();
    if !buckets.is_empty() {
        text.push_str(&format!(r#","buckets":[{}]"#, buckets.join(",")));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use watchkeep_series::Span;

    use super::*;

    #[test]
    fn times() {
        for (ms, text) in
            [(0, "0"), (1_500, "1.500"), (-1_001, "-1.001"), (60_000, "60"), (7, "0.007")]
        {
            assert_eq!(seconds(ms), text);
        }
    }

    #[test]
    fn histograms() {
        let some = Histogram {
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 6.0,
            sum: 4.5,
            positive_spans: vec![Span { offset: 1, length: 3 }],
            positive_buckets: vec![2.0, 0.0, 3.0],
            ..Histogram::default()
        };
        let expected = r#"{"count":"6","sum":"4.5","buckets":[[3,"-0.001","0.001","1"],[0,"1","2","2"],[0,"4","8","3"]]}"#;
        assert_eq!(histogram(&some), expected);
        assert_eq!(histogram(&Histogram::default()), r#"{"count":"0","sum":"0"}"#);
    }
}
