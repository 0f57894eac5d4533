//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/query_exemplars`, `/api/v1/format_query`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use chrono::Utc;
use watchkeep_series::promql::{Answer as Evaluated, Expr};

use super::{
    Asked,
    answer::{Answer, Refusal},
    encode,
    params::Params,
};
use crate::querier::{Querier, Took, When, Wish};

/// Points of one series in an answer.
const POINTS_MAX: i64 = 11_000;

pub(super) fn router(asked: Asked) -> Router {
    Router::new()
        .route("/api/v1/query", get(instant).post(instant))
        .route("/api/v1/query_range", get(range).post(range))
        .route("/api/v1/query_exemplars", get(exemplars).post(exemplars))
        .route("/api/v1/format_query", get(format).post(format))
        .with_state(asked)
}

async fn instant(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let at = params.time("time")?.unwrap_or_else(|| Utc::now().timestamp_millis());
    answer(asked.querier()?, &params, When::At(at)).await
}

async fn range(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let from_ms = params.need("start", params.time("start")?)?;
    let to_ms = params.need("end", params.time("end")?)?;
    if to_ms < from_ms {
        return Err(Refusal::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.need("step", params.duration("step")?)?;
    if step_ms <= 0 {
        return Err(Refusal::parameter(
            "step",
            "zero or less is no resolution: give a positive duration",
        ));
    }
    if to_ms.saturating_sub(from_ms) / step_ms > POINTS_MAX {
        let message =
            "exceeded maximum resolution of 11,000 points per timeseries: ask for a larger step";
        return Err(Refusal::bad_data(message));
    }
    answer(asked.querier()?, &params, When::Range { from_ms, to_ms, step_ms }).await
}

async fn answer(querier: &Querier, params: &Params, when: When) -> Result<Answer, Refusal> {
    let limit = params.count("limit")?.unwrap_or(0);
    let wish = Wish {
        timeout: params.duration("timeout")?.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        lookback_ms: params.duration("lookback_delta")?.filter(|ms| *ms > 0),
    };
    let expr = Arc::new(parsed(params)?);
    let (evaluated, took) = querier.evaluate(expr, when, wish).await?;
    let stats = params.get("stats").map(|_| stats(&evaluated, took));
    let Evaluated { value, mut warnings, infos, .. } = evaluated;
    // A large answer takes a while to write.
    let written = tokio::task::spawn_blocking(move || encode::result(&value, limit)).await;
    let (result, cut) = written.map_err(|error| Refusal::internal(error.to_string()))?;
    if cut {
        warnings.push("results truncated due to limit".to_owned());
    }
    let stats = stats.map(|stats| format!(",\"stats\":{stats}")).unwrap_or_default();
    Ok(Answer::raw(format!("{{{result}{stats}}}")).noted(warnings, infos))
}

fn parsed(params: &Params) -> Result<Expr, Refusal> {
    let text = params.get("query").unwrap_or_default();
    Expr::parse(text).map_err(|error| Refusal::parameter("query", error.to_string()))
}

fn stats(evaluated: &Evaluated, took: Took) -> serde_json::Value {
    let (queued, ran) = (took.queued.as_secs_f64(), took.evaluated.as_secs_f64());
    serde_json::json!({
        "timings": {
            "evalTotalTime": ran, "resultSortTime": 0, "queryPreparationTime": 0, "innerEvalTime": ran,
            "execQueueTime": queued, "execTotalTime": queued + ran,
        },
        "samples": {"totalQueryableSamples": evaluated.samples_read, "peakSamples": evaluated.samples_read},
    })
}

/// No exemplars are kept; the question is judged all the same.
async fn exemplars(params: Params) -> Result<Answer, Refusal> {
    params.time("start")?;
    params.time("end")?;
    parsed(&params)?;
    Ok(Answer::raw("[]".to_owned()))
}

async fn format(params: Params) -> Result<Answer, Refusal> {
    Answer::of(&parsed(&params)?.to_string())
}
