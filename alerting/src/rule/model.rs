//! What rules are made of: plain values, and the two traits behind which PromQL stands.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::template::Template;

/// Labels by name, in order.
pub type Labels = BTreeMap<String, String>;

/// Judges expressions.
pub trait Expressions {
    /// Whether `expr` is one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn check(&self, expr: &str) -> Result<(), String>;
}

/// Answers expressions.
pub trait Ask: Send + Sync {
    /// The value of `expr` at a time (milliseconds since 1970). A scalar is one row without labels.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<Answered>, String>;
}

/// One row of an answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// All labels, `__name__` too where the expression keeps it.
    pub labels: Labels,
    /// The value.
    pub value: Measure,
}

/// A value: of what kind it is, alerting need not know.
#[derive(Debug, Clone)]
pub enum Measure {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Histogram),
}

impl Measure {
    /// The number; none of a histogram.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }
}

/// A native histogram, carried through unread.
#[derive(Clone)]
pub struct Histogram {
    /// As people read it.
    pub text: Arc<str>,
    /// As whoever answered knows it.
    pub carried: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A sample to be written.
#[derive(Debug, Clone)]
pub struct Sample {
    /// All labels, `__name__` among them.
    pub labels: Labels,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The value.
    pub value: Measure,
}

/// Rules that are evaluated one after the other, all at the same times.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name, unique in its file.
    pub name: String,
    /// The file, as it was named.
    pub file: String,
    /// Between evaluations.
    pub interval: Duration,
    /// Most alerts or series of one rule; 0: any number.
    pub limit: usize,
    /// So much before the time of the evaluation is asked for; none: the default.
    pub query_offset: Option<Duration>,
    /// In their order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The expression.
    pub expr: String,
    /// Labels that are added, the group's among them.
    pub labels: BTreeMap<String, Text>,
    /// Where it stands in its file.
    pub line: u64,
    /// What becomes of the answer.
    pub kind: RuleKind,
}

impl Rule {
    /// The name of its alert or series.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.kind {
            RuleKind::Alert(alert) => &alert.name,
            RuleKind::Record(record) => &record.name,
        }
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Each row is an alert.
    Alert(AlertRule),
    /// Each row is a sample.
    Record(RecordRule),
}

/// An alert.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// `alertname`.
    pub name: String,
    /// How long a row must be there before it fires.
    pub hold: Duration,
    /// How long it fires on after it was there last.
    pub keep_firing: Duration,
    /// What is said of it.
    pub annotations: BTreeMap<String, Text>,
}

/// A recorded series.
#[derive(Debug, Clone)]
pub struct RecordRule {
    /// `__name__`.
    pub name: String,
}

/// A text that may be a template.
#[derive(Debug, Clone)]
pub struct Text {
    /// As it was written.
    pub raw: String,
    /// Parsed, where there is anything to expand.
    pub template: Option<Template>,
}
