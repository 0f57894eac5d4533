//! The shapes of OpenSLO v1 documents, as YAML has them (github.com/OpenSLO/OpenSLO). What they mean is [`super::judge`]'s.

#![allow(dead_code, reason = "all fields are read, so that unknown ones are noticed")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

/// What every document has; the rest of it depends on the kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
}

/// A document of one kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document<T> {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) spec: T,
}

/// An object that stands in another one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inline<T> {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: T,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: Spanned<String>,
    pub(super) display_name: Option<String>,
    pub(super) labels: Option<BTreeMap<String, Value>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// Kinds of which only the description matters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceSpec {
    pub(super) description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DataSourceSpec {
    pub(super) description: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) connection_details: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetSpec {
    pub(super) description: Option<String>,
    pub(super) target: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConditionSpec {
    pub(super) description: Option<String>,
    pub(super) severity: String,
    pub(super) condition: Condition,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Condition {
    pub(super) kind: Option<Spanned<String>>,
    pub(super) op: Option<Spanned<String>>,
    pub(super) threshold: Spanned<f64>,
    pub(super) lookback_window: Spanned<String>,
    pub(super) alert_after: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PolicySpec {
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) alert_when_no_data: bool,
    #[serde(default)]
    pub(super) alert_when_resolved: bool,
    #[serde(default)]
    pub(super) alert_when_breaching: bool,
    pub(super) conditions: Spanned<Vec<ConditionRef>>,
    pub(super) notification_targets: Option<Vec<NotificationRef>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConditionRef {
    pub(super) condition_ref: Option<Spanned<String>>,
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: Option<ConditionSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NotificationRef {
    pub(super) target_ref: Option<Spanned<String>>,
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: Option<TargetSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PolicyRef {
    pub(super) alert_policy_ref: Option<Spanned<String>>,
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: Option<PolicySpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SliSpec {
    pub(super) description: Option<String>,
    pub(super) threshold_metric: Option<Metric>,
    pub(super) ratio_metric: Option<Spanned<RatioMetric>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RatioMetric {
    #[serde(default)]
    pub(super) counter: bool,
    pub(super) good: Option<Metric>,
    pub(super) bad: Option<Metric>,
    pub(super) total: Option<Metric>,
    pub(super) raw_type: Option<Spanned<String>>,
    pub(super) raw: Option<Metric>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metric {
    pub(super) metric_source: Spanned<MetricSource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MetricSource {
    pub(super) metric_source_ref: Option<Spanned<String>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Spanned<String>>,
    pub(super) spec: QuerySpec,
}

/// Of a source that speaks PromQL.
#[derive(Debug, Deserialize)]
pub(super) struct QuerySpec {
    pub(super) query: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SloSpec {
    pub(super) description: Option<String>,
    pub(super) service: Spanned<String>,
    pub(super) indicator: Option<Inline<SliSpec>>,
    pub(super) indicator_ref: Option<Spanned<String>>,
    pub(super) time_window: Option<Spanned<Vec<TimeWindow>>>,
    pub(super) budgeting_method: Spanned<String>,
    pub(super) objectives: Spanned<Vec<Spanned<Objective>>>,
    pub(super) alert_policies: Option<Vec<Spanned<PolicyRef>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TimeWindow {
    pub(super) duration: Spanned<String>,
    pub(super) is_rolling: Option<bool>,
    pub(super) calendar: Option<Calendar>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Calendar {
    pub(super) start_time: Spanned<String>,
    pub(super) time_zone: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Objective {
    pub(super) display_name: Option<String>,
    pub(super) op: Option<Spanned<String>>,
    pub(super) value: Option<f64>,
    pub(super) target: Option<Spanned<f64>>,
    pub(super) target_percent: Option<Spanned<f64>>,
    pub(super) time_slice_target: Option<Spanned<f64>>,
    pub(super) time_slice_window: Option<Spanned<Slice>>,
    pub(super) indicator: Option<Inline<SliSpec>>,
    pub(super) indicator_ref: Option<Spanned<String>>,
    pub(super) composite_weight: Option<Spanned<f64>>,
}

/// A number of minutes, or a duration.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Slice {
    Minutes(u64),
    Text(String),
}
