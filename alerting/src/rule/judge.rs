//! A rule file, read and judged: every problem with its line and the remedy, or the groups. Pure: text in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde_saphyr::{Error, Location, Spanned, UserMessageFormatter};

use super::{
    file::{GroupShape, RuleFile, RuleShape},
    model::{AlertRule, Expressions, Group, RecordRule, Rule, RuleKind, Text},
    parse_duration,
};
use crate::template::{Functions, Site, Template, prometheus, with_now};

/// Longest rule file.
const FILE_BYTES_MAX: usize = 32 << 20;
/// Variables of every rule's templates.
pub(super) const VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// One thing that is wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, where it is known.
    pub line: Option<u64>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Reads a rule file; `interval` is for groups that name none.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file. YAML that does not fit the format gives its first
/// misfit only.
pub fn parse_file(
    file: &str,
    text: &str,
    interval: Duration,
    expressions: &dyn Expressions,
) -> Result<Vec<Group>, Vec<Problem>> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("longer than {FILE_BYTES_MAX} bytes; split it");
        return Err(vec![Problem { file: file.to_owned(), line: None, message }]);
    }
    let shape = read(text)
        .map_err(|(line, message)| vec![Problem { file: file.to_owned(), line, message }])?;
    let functions = with_now(prometheus(&Site::default(), |_| Ok(Vec::new())), 0.0);
    let mut judge = Judge { file, interval, expressions, functions, problems: Vec::new() };
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in shape.groups.unwrap_or_default() {
        if !names.insert(group.value.name.value.clone()) {
            let name = &group.value.name;
            judge.refuse(
                &name.referenced,
                format!("group {:?} is there twice; rename one", name.value),
            );
        }
        groups.push(judge.group(group.value));
    }
    match judge.problems.is_empty() {
        true => Ok(groups),
        false => {
            judge.problems.sort();
            Err(judge.problems)
        }
    }
}

/// YAML's own errors are wrong booleans and the like only where a boolean is expected, and none is.
fn read(text: &str) -> Result<RuleFile, (Option<u64>, String)> {
    let only_comments = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    });
    if only_comments {
        return Ok(RuleFile { groups: None });
    }
    serde_saphyr::from_str(text).map_err(|error: Error| {
        let line = error.location().map(|l| l.line());
        let full = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(m, _)| m);
        let message = match message.split_once("`, expected one of ") {
            Some((what, known)) => format!("{what}`; known: {known}"),
            None => message.to_owned(),
        };
        (line, message.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

struct Judge<'a> {
    file: &'a str,
    interval: Duration,
    expressions: &'a dyn Expressions,
    functions: Functions,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    fn refuse(&mut self, at: &Location, message: String) {
        let line = Some(at.line()).filter(|line| *line > 0);
        self.problems.push(Problem { file: self.file.to_owned(), line, message });
    }

    fn group(&mut self, shape: GroupShape) -> Group {
        let name = shape.name.value;
        if name.is_empty() {
            self.refuse(&shape.name.referenced, "a group's name is empty; give one".to_owned());
        }
        let interval = self.duration("interval", shape.interval.as_ref());
        let query_offset =
            shape.query_offset.as_ref().map(|o| self.duration("query_offset", Some(o)));
        let limit = shape.limit.map_or(0, |limit| match usize::try_from(limit.value) {
            Ok(value) => value,
            Err(_) => {
                self.refuse(&limit.referenced, "limit: give 0 (none) or more".to_owned());
                0
            }
        });
        let labels = shape.labels.unwrap_or_default();
        self.names("label", &labels);
        let rules = shape.rules.unwrap_or_default();
        let rules = rules.into_iter().filter_map(|rule| self.rule(rule, &labels)).collect();
        Group {
            name,
            file: self.file.to_owned(),
            interval: if interval.is_zero() { self.interval } else { interval },
            limit,
            query_offset,
            rules,
        }
    }

    fn rule(
        &mut self,
        rule: Spanned<RuleShape>,
        inherited: &BTreeMap<String, Spanned<String>>,
    ) -> Option<Rule> {
        let (at, shape) = (rule.referenced, rule.value);
        let mut labels = inherited.clone();
        let own = shape.labels.unwrap_or_default();
        self.names("label", &own);
        labels.extend(own);
        let expr = self.expr(&at, shape.expr.as_ref());
        let annotations = shape.annotations.unwrap_or_default();
        let (labels, kind) = match (shape.alert, shape.record) {
            (Some(alert), None) => {
                if alert.value.is_empty() {
                    self.refuse(&alert.referenced, "an alert's name is empty; give one".to_owned());
                }
                self.names("annotation", &annotations);
                let hold = self.duration("for", shape.hold.as_ref());
                let keep_firing = self.duration("keep_firing_for", shape.keep_firing_for.as_ref());
                let name = alert.value;
                let labels = self.texts("label", &name, labels);
                let annotations = self.texts("annotation", &name, annotations);
                (labels, RuleKind::Alert(AlertRule { name, hold, keep_firing, annotations }))
            }
            (None, Some(record)) => {
                self.record(&record, &shape.hold, &shape.keep_firing_for, &annotations);
                let plain = labels
                    .into_iter()
                    .map(|(name, text)| (name, Text { raw: text.value, template: None }));
                (plain.collect(), RuleKind::Record(RecordRule { name: record.value }))
            }
            (Some(_), Some(record)) => {
                let message = "a rule has either record or alert; split it in two".to_owned();
                self.refuse(&record.referenced, message);
                return None;
            }
            (None, None) => {
                self.refuse(&at, "a rule has neither record nor alert; give it one".to_owned());
                return None;
            }
        };
        Some(Rule { expr: expr?, labels, line: at.line(), kind })
    }

    fn expr(&mut self, at: &Location, expr: Option<&Spanned<String>>) -> Option<String> {
        match expr {
            Some(expr) if !expr.value.trim().is_empty() => {
                if let Err(message) = self.expressions.check(&expr.value) {
                    self.refuse(&expr.referenced, format!("expr: {message}"));
                }
                Some(expr.value.clone())
            }
            _ => {
                self.refuse(at, "a rule has no expr; give it one".to_owned());
                None
            }
        }
    }

    fn record(
        &mut self,
        record: &Spanned<String>,
        hold: &Option<Spanned<String>>,
        keep_firing: &Option<Spanned<String>>,
        annotations: &BTreeMap<String, Spanned<String>>,
    ) {
        if record.value.is_empty() {
            self.refuse(
                &record.referenced,
                "record: the series' name is empty; give one".to_owned(),
            );
        } else if record.value.contains(['{', '}']) {
            let message =
                format!("record: {:?} has braces; labels belong under labels", record.value);
            self.refuse(&record.referenced, message);
        }
        for (name, field) in [("for", hold), ("keep_firing_for", keep_firing)] {
            if let Some(field) = field {
                let message = format!("{name} means nothing in a recording rule; remove it");
                self.refuse(&field.referenced, message);
            }
        }
        if let Some(annotation) = annotations.values().next() {
            let message = "annotations mean nothing in a recording rule; remove them".to_owned();
            self.refuse(&annotation.referenced, message);
        }
    }

    fn duration(&mut self, name: &str, duration: Option<&Spanned<String>>) -> Duration {
        let Some(duration) = duration else { return Duration::ZERO };
        parse_duration(&duration.value).unwrap_or_else(|message| {
            self.refuse(&duration.referenced, format!("{name}: {message}"));
            Duration::ZERO
        })
    }

    fn names(&mut self, what: &str, entries: &BTreeMap<String, Spanned<String>>) {
        for (name, value) in entries {
            if name.is_empty() {
                self.refuse(&value.referenced, format!("a {what}'s name is empty; give one"));
            } else if name == "__name__" && what == "label" {
                let message = "label __name__ is what record or alert says; remove it".to_owned();
                self.refuse(&value.referenced, message);
            }
        }
    }

    fn texts(
        &mut self,
        what: &str,
        alert: &str,
        entries: BTreeMap<String, Spanned<String>>,
    ) -> BTreeMap<String, Text> {
        let mut texts = BTreeMap::new();
        for (name, text) in entries {
            let called = format!("{alert}/{name}");
            let template = text
                .value
                .contains("{{")
                .then(|| Template::parse(&called, &text.value, &self.functions, &VARIABLES));
            let template = template.transpose().unwrap_or_else(|error| {
                self.refuse(&text.referenced, format!("{what} {name}: {error}"));
                None
            });
            texts.insert(name, Text { raw: text.value, template });
        }
        texts
    }
}
