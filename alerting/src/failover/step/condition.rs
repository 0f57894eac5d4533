//! Until something is so: an expression over the samples, or a verdict. The deadline counts from the step's begin, whoever
//! leads meanwhile.

use chrono::TimeDelta;
use watchkeep_catalog::{Instance, Status, Verdict, keys};

use super::{Deposed, Outcome, Run, fill, instance, interrupted, millis};
use crate::{
    clock,
    config::{Condition, VerdictIs},
    source::{QueryData, RowValue},
};

/// Looks again and again until it is so, or the time is over.
pub(super) async fn until(
    run: &mut Run<'_>,
    at: usize,
    condition: &Condition,
) -> Result<Outcome, Deposed> {
    let began = run.failover.record.steps[at].started_at.unwrap_or_else(clock::now);
    let deadline = began + TimeDelta::seconds(i64::from(condition.within_seconds));
    loop {
        let seen = look(run, condition).await;
        if run.failover.record.rehearsal {
            let (so, what) = match &seen {
                Ok(what) => ("it is so", what),
                Err(what) => ("it is not so, as nothing was changed", what),
            };
            return Ok(Outcome::done(format!("{so}: {what}")));
        }
        let why = match seen {
            Ok(what) => return Ok(Outcome::done(what)),
            Err(why) => why,
        };
        if clock::now() >= deadline {
            let seconds = condition.within_seconds;
            return Ok(Outcome::Failed(format!("not so within {seconds} s: {why}")));
        }
        if let Some(interrupt) = interrupted(run).await? {
            return Ok(Outcome::Interrupted(interrupt));
        }
        tokio::time::sleep(millis(condition.every_ms)).await;
    }
}

/// `Ok`: it is so.
async fn look(run: &Run<'_>, condition: &Condition) -> Result<String, String> {
    match (&condition.promql, &condition.verdict) {
        (Some(expr), _) => promql(run, &fill(&run.failover.record, expr)).await,
        (None, Some(wanted)) => verdict(run, wanted).await,
        (None, None) => Err("it has neither promql nor verdict".to_owned()),
    }
}

async fn promql(run: &Run<'_>, expr: &str) -> Result<String, String> {
    let now = clock::now().timestamp_millis();
    let answer = run.context.source.query(expr, now).await.map_err(|error| error.to_string())?;
    holds(expr, answer.data)
}

/// Whether an answer says that it is so.
fn holds(expr: &str, data: QueryData) -> Result<String, String> {
    match data {
        // `scalar()` of nothing is NaN: then nothing is known.
        QueryData::Scalar(value) if value != 0.0 && !value.is_nan() => {
            Ok(format!("{expr} is {value}"))
        }
        QueryData::Vector(rows) if !rows.is_empty() => {
            let first = rows.first().map(|row| &row.value);
            let first = first.and_then(RowValue::float).map(|value| format!(", the first {value}"));
            Ok(format!("{expr}: {} series{}", rows.len(), first.unwrap_or_default()))
        }
        _ => Err(format!("{expr} has no series, or is 0")),
    }
}

async fn verdict(run: &Run<'_>, wanted: &VerdictIs) -> Result<String, String> {
    let record = &run.failover.record;
    let service = wanted.service.as_ref().unwrap_or(&record.service);
    let id = instance(record, &wanted.instance)?;
    let about = format!("{service}/{id}");
    let status = status(run, service, &id).await?;
    match status {
        Some(status) if status == wanted.status => Ok(format!("{about} is {}", status.as_str())),
        Some(status) => Err(format!("{about} is {}", status.as_str())),
        None => Err(format!("{about} is not judged")),
    }
}

/// The verdict; an instance that is not probed passes while it is registered.
async fn status(run: &Run<'_>, service: &str, id: &str) -> Result<Option<Status>, String> {
    let client = &run.context.client;
    let (instance, verdict) = (keys::instance(service, id), keys::verdict(service, id));
    let read = tokio::try_join!(client.get(&instance), client.get(&verdict));
    let (instance, verdict) = read.map_err(|error| error.to_string())?;
    if let Some(verdict) = verdict {
        let verdict: Verdict = verdict.json().map_err(|error| error.to_string())?;
        return Ok(Some(verdict.status));
    }
    let instance = instance.and_then(|kv| kv.json::<Instance>().ok());
    Ok(instance.filter(|instance| instance.checks.is_empty()).map(|_| Status::Passing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::VectorRow;

    #[test]
    fn nothing_and_not_a_number_are_not_so() {
        let row = |value| VectorRow {
            labels: std::collections::BTreeMap::new(),
            timestamp_ms: 0,
            value: RowValue::Float(value),
        };
        for (data, so) in [
            (QueryData::Scalar(1.0), true),
            (QueryData::Scalar(-0.5), true),
            (QueryData::Scalar(0.0), false),
            (QueryData::Scalar(f64::NAN), false),
            (QueryData::Vector(vec![row(0.0)]), true),
            (QueryData::Vector(Vec::new()), false),
            (QueryData::String("yes".to_owned()), false),
        ] {
            assert_eq!(holds("x", data.clone()).is_ok(), so, "{data:?}");
        }
    }
}
