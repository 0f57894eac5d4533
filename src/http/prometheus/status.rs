//! `/api/v1/status/*`, `/api/v1/metadata`, `/api/v1/alertmanagers`: what this node is, in the shapes that tools expect.

use std::collections::BTreeMap;

use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, SecondsFormat, Utc};
use prometheus::proto::MetricType;
use serde_json::{Value, json};
use watchkeep_series::{Count, promql::EvalError};

use super::{
    Asked,
    answer::{Answer, Refusal},
    params::Params,
};

/// Whose API this is: clients decide by it what they may call.
const SPOKEN: &str = "3.0.0";
/// Rows of each table in `status/tsdb`, unless told otherwise.
const ROWS: usize = 10;
/// Most rows.
const ROWS_MAX: usize = 10_000;

pub(super) fn router(asked: Asked) -> Router {
    Router::new()
        .route("/api/v1/status/buildinfo", get(buildinfo))
        .route("/api/v1/status/runtimeinfo", get(runtimeinfo))
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/status/flags", get(flags))
        .route("/api/v1/status/tsdb", get(tsdb))
        .route("/api/v1/metadata", get(metadata))
        .route("/api/v1/alertmanagers", get(alertmanagers))
        .with_state(asked)
}

/// What of the configuration is shown, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The whole, as YAML. It names files with secrets, and holds none.
    pub(crate) yaml: String,
    /// `listen.http`.
    pub(crate) listen: String,
    /// `collector.retention_hours`.
    pub(crate) retention_hours: i64,
    /// When the process began.
    pub(crate) started_at: DateTime<Utc>,
}

async fn buildinfo() -> Result<Answer, Refusal> {
    let own = env!("CARGO_PKG_VERSION");
    Answer::of(&json!({
        "version": format!("{SPOKEN}+watchkeep.{own}"),
        "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
        "watchkeep": own,
    }))
}

async fn runtimeinfo(State(asked): State<Asked>) -> Result<Answer, Refusal> {
    let facts = &asked.facts;
    let started = facts.started_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Answer::of(&json!({
        "startTime": started, "CWD": "", "reloadConfigSuccess": true, "lastConfigTime": started,
        "corruptionCount": 0, "goroutineCount": 0, "GOMAXPROCS": 0, "GOMEMLIMIT": 0, "GOGC": "", "GODEBUG": "",
        "storageRetention": format!("{}h", facts.retention_hours),
    }))
}

async fn config(State(asked): State<Asked>) -> Result<Answer, Refusal> {
    Answer::of(&json!({"yaml": asked.facts.yaml}))
}

/// Those of Prometheus's flags that have a counterpart here.
async fn flags(State(asked): State<Asked>) -> Result<Answer, Refusal> {
    let facts = &asked.facts;
    let mut flags = BTreeMap::from([
        ("web.listen-address", facts.listen.clone()),
        ("storage.tsdb.retention.time", format!("{}h", facts.retention_hours)),
        ("web.enable-remote-write-receiver", "true".to_owned()),
    ]);
    if let Some(querier) = &asked.querier {
        let config = querier.config();
        flags.extend([
            ("query.lookback-delta", format!("{}ms", config.lookback_ms)),
            ("query.max-concurrency", config.concurrency_max.to_string()),
            ("query.max-samples", config.samples_max.to_string()),
            ("query.timeout", format!("{}ms", config.timeout_ms)),
        ]);
        if config.experimental {
            flags.insert("enable-feature", "promql-experimental-functions".to_owned());
        }
    }
    Answer::of(&flags)
}

async fn alertmanagers() -> Answer {
    Answer::raw(r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#.to_owned())
}

async fn tsdb(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let rows = params.count("limit")?.unwrap_or(ROWS);
    if !(1..=ROWS_MAX).contains(&rows) {
        return Err(Refusal::parameter("limit", format!("give 1 to {ROWS_MAX}")));
    }
    let querier = asked.querier()?;
    let read = querier.run(None, move |store, _| {
        let stats = store.stats().map_err(EvalError::Series)?;
        Ok((store.cardinality(rows), stats, store.times().unwrap_or((0, 0))))
    });
    let ((cardinality, stats, (min_time, max_time)), _) = read.await?;
    let list = |counts: &[Count]| -> Vec<Value> {
        counts.iter().map(|c| json!({"name": c.name, "value": c.value})).collect()
    };
    // Each series in memory has one open chunk; full ones go to the disk with the next flush.
    let chunks = stats.series;
    Answer::of(&json!({
        "headStats": {
            "numSeries": stats.series, "numLabelPairs": cardinality.label_pairs, "chunkCount": chunks,
            "minTime": min_time, "maxTime": max_time,
        },
        "seriesCountByMetricName": list(&cardinality.series_by_metric),
        "labelValueCountByLabelName": list(&cardinality.values_by_label),
        "memoryInBytesByLabelName": list(&cardinality.bytes_by_label),
        "seriesCountByLabelValuePair": list(&cardinality.series_by_pair),
    }))
}

/// Types and help of this node's own metrics, which are those of all nodes. What others send or show comes without.
async fn metadata(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let limit = params.count("limit")?.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let wanted = params.get("metric");
    let mut found = BTreeMap::new();
    for family in asked.metrics.gather() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "unknown",
        };
        if wanted.is_none_or(|wanted| wanted == family.name()) {
            let entry = json!([{"type": kind, "help": family.help(), "unit": ""}]);
            found.insert(family.name().to_owned(), entry);
        }
    }
    Answer::of(&found.into_iter().take(limit).collect::<BTreeMap<_, _>>())
}
