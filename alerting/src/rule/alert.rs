//! An alert rule's state machine: pending, firing, gone. Pure; one step is one evaluation.
//!
//! ```text
//! row there ─▶ pending ─ for ─▶ firing ─ row gone ─▶ (keep_firing_for) ─▶ resolved, forgotten
//!                 └─ row gone ─▶ forgotten
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::{
    evaluate::Environment,
    model::{AlertRule, Answered, Labels, Measure, Rule, Sample, Text},
};
use crate::template::{Functions, TemplateError, Value, object, string_map};

/// The series of pending and firing alerts.
pub const SERIES: &str = "ALERTS";
/// The series of when they became active.
pub const FOR_STATE: &str = "ALERTS_FOR_STATE";

/// Longest annotation: it goes into the registry, which takes no more than 1.5 MiB at once.
const ANNOTATION_BYTES_MAX: usize = 32 * 1024;

/// Where an active alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertState {
    /// Its `for` is not over.
    Pending,
    /// It is.
    Firing,
}

impl AlertState {
    /// `pending`, `firing`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An active alert. Its labels are its key.
#[derive(Debug, Clone)]
pub struct Active {
    /// Where it stands.
    pub state: AlertState,
    /// When it became active: milliseconds since 1970.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: Option<i64>,
    /// Since when it fires only by `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// The last value.
    pub value: Measure,
    /// What is said of it.
    pub annotations: Labels,
}

/// Alerts by their labels, `alertname` among them.
pub(super) type ActiveAlerts = BTreeMap<Labels, Active>;

/// What one step came to.
pub(super) struct Step {
    pub(super) active: ActiveAlerts,
    /// Labels of alerts that fired and do not any more.
    pub(super) resolved: BTreeSet<Labels>,
    pub(super) samples: Vec<Sample>,
}

/// One evaluation at `now_ms`, whose samples are those of `sample_ms`.
///
/// # Errors
/// When two rows come to the same labels, or there are more than `limit` alerts; the latter ends all of them.
pub(super) fn step(
    rule: &Rule,
    alert: &AlertRule,
    mut active: ActiveAlerts,
    rows: Vec<Answered>,
    (now_ms, sample_ms): (i64, i64),
    limit: usize,
    environment: &Environment,
) -> Result<Step, (String, ActiveAlerts)> {
    let mut there: BTreeSet<Labels> = BTreeSet::new();
    let functions = needs_templates(rule, alert).then(|| environment.functions(now_ms));
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (labels, annotations) = describe(rule, alert, &row, functions.as_ref(), environment);
        if !there.insert(labels.clone()) {
            let message = format!(
                "two rows of the answer come to the same labels {labels:?}; keep apart what tells them apart"
            );
            return Err((message, active));
        }
        found.push((labels, annotations, row.value));
    }
    for (labels, annotations, value) in found {
        match active.entry(labels) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.value, known.annotations) = (value, annotations);
                known.keep_firing_since_ms = None;
            }
            Entry::Vacant(free) => {
                free.insert(Active {
                    state: AlertState::Pending,
                    active_at_ms: now_ms,
                    fired_at_ms: None,
                    keep_firing_since_ms: None,
                    value,
                    annotations,
                });
            }
        }
    }
    let resolved = age(alert, &mut active, &there, now_ms);
    if limit > 0 && active.len() > limit {
        let message = format!("{} alerts are more than the group's limit of {limit}", active.len());
        return Err((message, ActiveAlerts::new()));
    }
    let samples = active.iter().flat_map(|(labels, alert)| series(labels, alert, sample_ms));
    Ok(Step { samples: samples.collect(), resolved, active })
}

/// Lets go what is not there any more, and fires what has been there for long enough.
fn age(
    alert: &AlertRule,
    active: &mut ActiveAlerts,
    there: &BTreeSet<Labels>,
    now_ms: i64,
) -> BTreeSet<Labels> {
    let mut resolved = BTreeSet::new();
    active.retain(|labels, known| {
        if !there.contains(labels) {
            if known.state == AlertState::Pending {
                return false;
            }
            let since = *known.keep_firing_since_ms.get_or_insert(now_ms);
            if now_ms - since >= millis(alert.keep_firing) {
                resolved.insert(labels.clone());
                return false;
            }
        }
        if known.state == AlertState::Pending && now_ms - known.active_at_ms >= millis(alert.hold) {
            known.state = AlertState::Firing;
            known.fired_at_ms = Some(now_ms);
        }
        true
    });
    resolved
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn series(labels: &Labels, alert: &Active, at_ms: i64) -> [Sample; 2] {
    let named = |name: &str| {
        let mut labels = labels.clone();
        labels.insert("__name__".to_owned(), name.to_owned());
        labels
    };
    let mut state = named(SERIES);
    state.insert("alertstate".to_owned(), alert.state.as_str().to_owned());
    let seconds = alert.active_at_ms.div_euclid(1000);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let since = Measure::Float(seconds as f64);
    [
        Sample { labels: state, timestamp_ms: at_ms, value: Measure::Float(1.0) },
        Sample { labels: named(FOR_STATE), timestamp_ms: at_ms, value: since },
    ]
}

/// The series of all alerts, by their labels.
pub(super) fn all_series(active: &ActiveAlerts) -> BTreeSet<Labels> {
    let samples = active.iter().flat_map(|(labels, alert)| series(labels, alert, 0));
    samples.map(|sample| sample.labels).collect()
}

fn needs_templates(rule: &Rule, alert: &AlertRule) -> bool {
    rule.labels.values().chain(alert.annotations.values()).any(|text| text.template.is_some())
}

/// The labels and annotations of a row.
fn describe(
    rule: &Rule,
    alert: &AlertRule,
    row: &Answered,
    functions: Option<&Functions>,
    environment: &Environment,
) -> (Labels, Labels) {
    let given = functions.map(|functions| Given::new(row, functions, environment));
    let expand = |text: &Text| match (&text.template, &given) {
        (Some(template), Some(given)) => {
            template.render(&given.data, &given.variables, given.functions).unwrap_or_else(said)
        }
        _ => text.raw.clone(),
    };
    let mut labels = row.labels.clone();
    labels.remove("__name__");
    for (name, text) in &rule.labels {
        labels.insert(name.clone(), expand(text));
    }
    labels.insert("alertname".to_owned(), alert.name.clone());
    labels.retain(|_, value| !value.is_empty());
    let annotations = alert.annotations.iter();
    let annotations = annotations.map(|(name, text)| (name.clone(), short(expand(text))));
    (labels, annotations.collect())
}

/// An annotation that is no longer than it may be.
fn short(mut text: String) -> String {
    if text.len() > ANNOTATION_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ANNOTATION_BYTES_MAX));
        text.push('…');
    }
    text
}

/// What stands in the place of a text that cannot be expanded: an alert is too important to be lost by it.
fn said(error: TemplateError) -> String {
    format!("<error expanding template: {error}>")
}

/// What a rule's templates see.
struct Given<'a> {
    data: Value,
    variables: Vec<(&'static str, Value)>,
    functions: &'a Functions,
}

impl<'a> Given<'a> {
    fn new(row: &Answered, functions: &'a Functions, environment: &Environment) -> Self {
        let labels = string_map(&row.labels);
        let external = string_map(&environment.external_labels);
        let url = Value::String(environment.site.external_url.as_str().into());
        let value = match &row.value {
            Measure::Float(value) => Value::Float(*value),
            Measure::Histogram(histogram) => Value::String(Arc::clone(&histogram.text)),
        };
        let data = object(
            "data of a rule",
            [
                ("Labels", labels.clone()),
                ("ExternalLabels", external.clone()),
                ("ExternalURL", url.clone()),
                ("Value", value.clone()),
            ],
        );
        let variables = vec![
            ("$labels", labels),
            ("$externalLabels", external),
            ("$externalURL", url),
            ("$value", value),
        ];
        Self { data, variables, functions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_have_their_maximum() {
        let fits = "x".repeat(ANNOTATION_BYTES_MAX);
        assert_eq!(short(fits.clone()), fits);
        let long = short(format!("{}ö", &fits[1..]));
        assert_eq!(long, format!("{}…", &fits[1..]));
    }
}
