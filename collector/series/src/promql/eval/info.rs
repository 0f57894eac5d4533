//! `info()`: labels of info metrics added to the series that they describe, found by `instance` and `job`.

use std::collections::{BTreeMap, HashMap};

use super::{Evaluator, Sink, arithmetic};
use crate::{
    Labels, METRIC_NAME, Matcher,
    promql::{
        EvalError,
        error::execution,
        plan::{At, Call, Ends, Node, Selector, What, When},
        row::{Cell, Row, Steps},
    },
};

/// What an info metric and what it describes have in common.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";

type Identity<'a> = [&'a str; 2];

/// Info series by identity and name.
type Described<'a> = HashMap<Identity<'a>, BTreeMap<&'a str, Vec<usize>>>;

/// Which info metrics are meant, and which of their labels.
struct Asked {
    names: Vec<Matcher>,
    data: Vec<Matcher>,
    /// A name is asked for, not only excluded.
    positive: bool,
}

impl Asked {
    fn new(matchers: &[Matcher]) -> Self {
        let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(|m| label_of(m) == METRIC_NAME);
        if names.is_empty() {
            names.push(Matcher::Equal(METRIC_NAME.into(), TARGET_INFO.into()));
        }
        let positive = names.iter().any(|m| matches!(m, Matcher::Equal(..) | Matcher::Regex(..)));
        Self { names, data, positive }
    }

    /// Info series are not described themselves.
    fn is_info(&self, row: &Row) -> bool {
        self.positive && self.names.iter().all(|m| m.matches(&row.labels))
    }
}

impl Evaluator<'_> {
    pub(super) fn info_join(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let base = self.collect(&call.args[0], steps)?;
        let matchers: &[Matcher] = match call.args.get(1).map(|node| &node.bare().what) {
            Some(What::Vector(selector)) => &selector.matchers,
            _ => &[],
        };
        let asked = Asked::new(matchers);
        let infos = self.info_series(&call.args[0], &base, &asked, steps)?;

        let mut described = Described::new();
        for (at, info) in infos.iter().enumerate() {
            let by_name = described.entry(identity(&info.labels)).or_default();
            by_name.entry(info.labels.get(METRIC_NAME).unwrap_or_default()).or_default().push(at);
        }
        // A label that is asked for must come from somewhere, unless it may be empty.
        let optional = asked.data.iter().all(|m| m.matches(&Labels::default()));
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut joined: Vec<Row> = Vec::new();
        for row in &base {
            self.check_stop()?;
            let candidates = described.get(&identity(&row.labels)).filter(|_| !asked.is_info(row));
            for step in (0..steps.count).filter(|step| row.has(*step)) {
                let found = match candidates {
                    Some(by_name) => newest(by_name, &infos, step)?,
                    None => Vec::new(),
                };
                if found.is_empty() && !optional && !asked.is_info(row) {
                    continue;
                }
                let labels = with_data(&row.labels, &found, &infos, &asked.data)?;
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    joined.push(Row::new(labels.clone(), row.drop_name, steps.count));
                    joined.len() - 1
                });
                if joined[place].has(step) {
                    return Err(execution("vector cannot contain metrics with the same labelset"));
                }
                joined[place].set(step, arithmetic::owned(row.cell(step)));
            }
        }
        self.release((base.len() + infos.len()) * steps.count);
        joined.iter_mut().try_for_each(sink)
    }

    /// The info series of all base series; their values are the times of their samples.
    fn info_series(
        &self,
        node: &Node,
        base: &[Row],
        asked: &Asked,
        steps: Steps,
    ) -> Result<Vec<Row>, EvalError> {
        let mut matchers: Vec<Matcher> = asked.names.iter().chain(&asked.data).cloned().collect();
        if !asked.positive {
            matchers.push(Matcher::regex(METRIC_NAME, ".+_info")?);
        }
        let mut identified = false;
        for label in IDENTIFYING {
            let described = base.iter().filter(|row| !asked.is_info(row));
            let mut values: Vec<&str> = described.filter_map(|row| row.labels.get(label)).collect();
            values.sort_unstable();
            values.dedup();
            if !values.is_empty() {
                identified = true;
                let any: Vec<String> = values.into_iter().map(regex::escape).collect();
                // Too many to compile: read more than is needed, and match by identity all the same.
                matchers.extend(Matcher::regex(label, &any.join("|")));
            }
        }
        let mut infos = Vec::new();
        if identified {
            let when = reference(node).unwrap_or(When { at: At::Step, offset_ms: 0 });
            let selector = Selector { matchers, when, ends: Ends::Plain };
            self.select_times(&selector, steps, &mut |row| {
                self.hold(steps.count)?;
                infos.push(std::mem::take(row));
                Ok(())
            })?;
        }
        Ok(infos)
    }
}

/// Which time the first selector in an expression means: what is described, and what describes it, are of one time.
fn reference(node: &Node) -> Option<When> {
    match &node.what {
        What::Vector(selector) | What::Range(selector, _) => Some(selector.when),
        What::Subquery(subquery) => {
            let inner = reference(&subquery.expr)?;
            if inner.at != At::Step {
                return Some(inner);
            }
            let offset_ms = inner.offset_ms.saturating_add(subquery.when.offset_ms);
            Some(When { at: subquery.when.at, offset_ms })
        }
        _ => node.children().into_iter().find_map(reference),
    }
}

fn label_of(matcher: &Matcher) -> &str {
    let (Matcher::Equal(name, _)
    | Matcher::NotEqual(name, _)
    | Matcher::Regex(name, _)
    | Matcher::NotRegex(name, _)) = matcher;
    name
}

fn identity(labels: &Labels) -> Identity<'_> {
    IDENTIFYING.map(|name| labels.get(name).unwrap_or_default())
}

/// Of each info metric the series with the newest sample at the step.
fn newest(
    by_name: &BTreeMap<&str, Vec<usize>>,
    infos: &[Row],
    step: usize,
) -> Result<Vec<usize>, EvalError> {
    let mut found = Vec::new();
    for candidates in by_name.values() {
        let mut best: Option<(f64, usize)> = None;
        for &at in candidates {
            let Cell::Float(time) = infos[at].cell(step) else { continue };
            match best {
                Some((known, other)) if known == time => {
                    return Err(execution(format!(
                        "found duplicate series for info metric: existing {} @ {known}, new {} @ {time}",
                        infos[other].labels, infos[at].labels
                    )));
                }
                Some((known, _)) if known > time => {}
                _ => best = Some((time, at)),
            }
        }
        found.extend(best.map(|(_, at)| at));
    }
    Ok(found)
}

/// The labels with the data labels of the info series, those that are asked for, that they lack.
fn with_data(
    labels: &Labels,
    found: &[usize],
    infos: &[Row],
    data: &[Matcher],
) -> Result<Labels, EvalError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for info in found.iter().map(|at| &infos[*at].labels) {
        for (name, value) in info.iter() {
            let asked = data.is_empty() || data.iter().any(|m| label_of(m) == name);
            if name == METRIC_NAME || !asked {
                continue;
            }
            if added.get(name).is_some_and(|known| *known != value) {
                return Err(execution(format!("conflicting label: {name}")));
            }
            if labels.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    Ok(added.into_iter().fold(labels.clone(), |labels, (name, value)| labels.with(name, value)))
}
