//! The texts of warnings and infos: Prometheus's, since people search for them.

use crate::promql::plan::Position;

/// Names the metric, if it has a name.
fn named(message: &str, metric: &str, position: Position) -> String {
    if metric.is_empty() {
        format!("{message} ({position})")
    } else {
        format!("{message} for metric name {metric:?} ({position})")
    }
}

pub(crate) fn mixed_schemas(metric: &str, position: Position) -> String {
    let message = "PromQL warning: vector contains a mix of histograms with exponential and custom \
                   buckets schemas";
    named(message, metric, position)
}

pub(crate) fn mixed_floats(metric: &str, position: Position) -> String {
    named("PromQL warning: encountered a mix of histograms and floats", metric, position)
}

pub(crate) fn mixed_aggregation(position: Position) -> String {
    format!(
        "PromQL warning: encountered a mix of histograms and floats for aggregation ({position})"
    )
}

pub(crate) fn mixed_classic(metric: &str, position: Position) -> String {
    named(
        "PromQL warning: vector contains a mix of classic and native histograms",
        metric,
        position,
    )
}

pub(crate) fn bad_bucket(le: &str, metric: &str, position: Position) -> String {
    let message = format!(
        "PromQL warning: bucket label \"le\" is missing or has a malformed value of {le:?}"
    );
    named(&message, metric, position)
}

pub(crate) fn bad_quantile(q: f64, position: Position) -> String {
    let q = crate::general(q);
    format!("PromQL warning: quantile value should be between 0 and 1, got {q} ({position})")
}

pub(crate) fn bad_ratio(ratio: f64, capped: f64, position: Position) -> String {
    format!(
        "PromQL warning: ratio value should be between -1 and 1, got {}, capping to {} ({position})",
        crate::general(ratio),
        crate::general(capped)
    )
}

pub(crate) fn not_counter(metric: &str, position: Position) -> String {
    format!(
        "PromQL warning: this native histogram metric is not a counter: {metric:?} ({position})"
    )
}

pub(crate) fn not_gauge(metric: &str, position: Position) -> String {
    format!("PromQL warning: this native histogram metric is not a gauge: {metric:?} ({position})")
}

pub(crate) fn reset_collision(during: &str, position: Position) -> String {
    format!("PromQL warning: conflicting counter resets during histogram {during} ({position})")
}

pub(crate) fn layouts(op: &str, position: Position) -> String {
    format!(
        "PromQL warning: incompatible bucket layout encountered for binary operator {op} ({position})"
    )
}

pub(crate) fn reconciled(during: &str, position: Position) -> String {
    format!("PromQL info: mismatched custom buckets were reconciled during {during} ({position})")
}

pub(crate) fn types(op: &str, lhs: &str, rhs: &str, position: Position) -> String {
    format!(
        "PromQL info: incompatible sample types encountered for binary operator {op:?}: \
         {lhs} {op} {rhs} ({position})"
    )
}

pub(crate) fn ignored_in_range(metric: &str, position: Position) -> String {
    let message =
        "PromQL info: ignored histograms in a range containing both floats and histograms";
    named(message, metric, position)
}

pub(crate) fn start_overlap(metric: &str, position: Position) -> String {
    format!(
        "PromQL warning: sample has start time that overlaps with previous sample timestamp for \
         metric {metric:?} ({position})"
    )
}

pub(crate) fn maybe_no_counter(metric: &str, position: Position) -> String {
    format!(
        "PromQL info: metric might not be a counter, name does not end in \
         _total/_sum/_count/_bucket: {metric:?} ({position})"
    )
}

pub(crate) fn type_is_no_counter(metric: &str, kind: &str, position: Position) -> String {
    format!(
        "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \
         \"histogram\", got {kind:?}: {metric:?} ({position})"
    )
}

pub(crate) fn forced_monotonicity(metric: &str, position: Position) -> String {
    let message = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                   https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
    named(message, metric, position)
}

pub(crate) fn nan_observations(text: &str, metric: &str, position: Position) -> String {
    named(&format!("PromQL info: input to {text}"), metric, position)
}
