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
        let over = if *counter { "increase" } else { "sum_over_time" };
        let window = format!("{}s", (to_ms - from_ms) / 1000);
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
    let expr = format!("1 - ({})", rules::events(slo, seconds));
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
