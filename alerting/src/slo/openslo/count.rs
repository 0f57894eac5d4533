//! A document's good and bad by the hour, asked of whoever has the samples. What is counted is kept in day records, so that
//! reports reach further back than samples do.

use super::{Indicator, Method, Slo, rules};
use crate::{
    slo::bucket::Bucket,
    source::{QueryAnswer, QueryData, RowValue, Source, SourceError},
};

/// What a step counts for where it is good in part.
const PARTS: u64 = 1_000;

/// What came of `[from_ms, to_ms)`, which lies within an hour; nothing where there are no samples.
pub(in super::super) async fn count(
    source: &dyn Source,
    slo: &Slo,
    from_ms: i64,
    to_ms: i64,
) -> Result<Bucket, SourceError> {
    if let ([(Indicator::Ratio { counter, part, part_is_good, total }, _)], Method::Occurrences) =
        (slo.indicators.as_slice(), slo.method)
    {
        let (over, window) = match counter {
            true => ("increase", format!("{}s", (to_ms - from_ms) / 1000)),
            false => ("sum_over_time", open(to_ms - from_ms)),
        };
        let total = one(source, &rules::sum(over, total, &window), to_ms).await?;
        let part = one(source, &rules::sum(over, part, &window), to_ms).await?;
        let good = if *part_is_good { part } else { total - part };
        return Ok(bucket(total.round() as u64, good.round() as u64));
    }
    let (seconds, limit) = match slo.method {
        Method::Timeslices { seconds, target } => (seconds, Some(target)),
        Method::RatioTimeslices { seconds } => (seconds, None),
        Method::Occurrences => {
            let whole = matches!(slo.indicators.as_slice(), [(Indicator::Threshold { .. }, _)]);
            (60, whole.then_some(0.5))
        }
    };
    let step = i64::try_from(seconds).unwrap_or(60) * 1000;
    let first = from_ms + step;
    if first > to_ms {
        return Ok(Bucket::default());
    }
    let rates = format!("{seconds}s");
    let expr = format!("1 - ({})", rules::events_within(slo, &rates, &open(step)));
    let answer = source.query_range(&expr, first, to_ms, step).await?;
    let mut sum = Bucket::default();
    for share in values(&answer).into_iter().filter(|(at, _)| *at <= to_ms).map(|(_, share)| share)
    {
        sum.add(match limit {
            Some(limit) => bucket(1, u64::from(share >= limit)),
            None => bucket(PARTS, (share.clamp(0.0, 1.0) * PARTS as f64).round() as u64),
        });
    }
    Ok(sum)
}

/// A range of that length without its first moment, which is the last one of the range before: Prometheus 2 takes both in.
fn open(length_ms: i64) -> String {
    format!("{}ms", length_ms - 1)
}

fn bucket(total: u64, good: u64) -> Bucket {
    let good = good.min(total);
    Bucket { total, good, fast: good, excluded: 0 }
}

/// The value of an expression; nothing counts as nought.
async fn one(source: &dyn Source, expr: &str, at_ms: i64) -> Result<f64, SourceError> {
    let answer = source.query(expr, at_ms).await?;
    let rows = answer.into_rows(at_ms).unwrap_or_default();
    let values = rows.into_iter().filter_map(|row| match row.value {
        RowValue::Float(value) if value.is_finite() => Some(value.max(0.0)),
        _ => None,
    });
    Ok(values.fold(0.0, |all, value| all + value))
}

/// Of a matrix, the finite points of its only row.
fn values(answer: &QueryAnswer) -> Vec<(i64, f64)> {
    let QueryData::Matrix(rows) = &answer.data else { return Vec::new() };
    let points = rows.first().map_or(&[][..], |row| &row.points);
    let finite = points.iter().filter_map(|(at, value)| match value {
        RowValue::Float(value) if value.is_finite() => Some((*at, *value)),
        _ => None,
    });
    finite.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::BoxFuture;

    use super::*;
    use crate::{
        slo::{openslo::TimeWindow, time::HOUR_MS},
        source::{MatrixRow, SeriesData},
    };

    /// Remembers what it is asked. Nothing that it tells of is good.
    #[derive(Default)]
    struct Asked(Mutex<Vec<String>>);

    impl Source for Asked {
        fn select<'a>(
            &'a self,
            _selector: &'a str,
            _from_ms: i64,
            _to_ms: i64,
        ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn query<'a>(
            &'a self,
            expr: &'a str,
            _at_ms: i64,
        ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
            self.0.lock().unwrap().push(expr.to_owned());
            let (warnings, infos) = Default::default();
            Box::pin(async { Ok(QueryAnswer { data: QueryData::Scalar(3.0), warnings, infos }) })
        }

        fn query_range<'a>(
            &'a self,
            expr: &'a str,
            from_ms: i64,
            to_ms: i64,
            step_ms: i64,
        ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
            self.0.lock().unwrap().push(expr.to_owned());
            let (warnings, infos) = Default::default();
            let moments = (from_ms..=to_ms).step_by(usize::try_from(step_ms).unwrap());
            let points = moments.map(|at| (at, RowValue::Float(0.0))).collect();
            let data = QueryData::Matrix(vec![MatrixRow { labels: Default::default(), points }]);
            Box::pin(async { Ok(QueryAnswer { data, warnings, infos }) })
        }
    }

    /// Debian's Prometheus takes both ends of a range in: what lies on the border of two slices, or hours, would count in both.
    #[tokio::test]
    async fn what_lies_on_a_border_counts_once() {
        let ratio = |counter| Indicator::Ratio {
            counter,
            part: "bad".to_owned(),
            part_is_good: false,
            total: "all".to_owned(),
        };
        let threshold = Indicator::Threshold { query: "p99".to_owned(), op: "<=", value: 0.3 };
        let slices = Method::Timeslices { seconds: 300, target: 0.95 };
        for (indicator, method, window, counted) in [
            (ratio(false), Method::Occurrences, "sum_over_time(all[3599999ms])", 3),
            // An increase is between two samples: it needs both ends.
            (ratio(true), Method::Occurrences, "increase(all[3600s])", 3),
            (threshold.clone(), Method::Occurrences, "bool 0.3)[59999ms:1m]", 60),
            (threshold, slices, "bool 0.3)[299999ms:1m]", 12),
            (ratio(true), slices, "rate(bad[300s])", 12),
            (ratio(false), slices, "sum_over_time(bad[299999ms])", 12),
        ] {
            let slo = Slo {
                name: "x".to_owned(),
                service: "x".to_owned(),
                display_name: "x".to_owned(),
                target: 0.99,
                method,
                window: TimeWindow::Rolling(24),
                indicators: vec![(indicator, 1.0)],
                alerts: Vec::new(),
                file: String::new(),
                line: 0,
            };
            let source = Asked::default();
            let found = count(&source, &slo, 7 * HOUR_MS, 8 * HOUR_MS).await.unwrap();
            let asked = source.0.into_inner().unwrap().join("\n");
            assert!(asked.contains(window), "{window} is not in {asked}");
            assert_eq!((found.total, found.good), (counted, 0), "{asked}");
        }
    }
}
