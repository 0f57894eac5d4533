//! What an objective measures: indicators, their queries, who answers them.

use serde_saphyr::{Location, Spanned};

use super::{
    super::{Indicator, rules::is_selector, shape},
    Judge,
};

/// Data sources that answer PromQL.
const SOURCES: [&str; 5] = ["prometheus", "watchkeep", "victoriametrics", "thanos", "mimir"];

impl Judge<'_> {
    pub(super) fn indicator(
        &mut self,
        at: &Location,
        given: (Option<&shape::Inline<shape::SliSpec>>, Option<&Spanned<String>>),
        objective: &shape::Objective,
    ) -> Option<Indicator> {
        let all = self.all;
        match given {
            (Some(inline), None) => self.sli(at, &inline.spec, objective),
            (None, Some(name)) => match all.slis.get(&name.value) {
                Some((file, before, spec)) => {
                    // What is wrong with it stands in its own file.
                    let mut judge = self.in_file(file, *before);
                    let found = judge.sli(&Location::UNKNOWN, spec, objective);
                    self.problems.append(&mut judge.problems);
                    found
                }
                None => self.undefined(name, "SLI", all.slis.keys().collect()),
            },
            (Some(_), Some(name)) => self.refuse(
                &name.referenced,
                "indicator and indicatorRef exclude each other: give one".to_owned(),
            ),
            (None, None) => self.refuse(
                at,
                "has no indicator: give indicator, or indicatorRef with the name of an SLI"
                    .to_owned(),
            ),
        }
    }

    fn sli(
        &mut self,
        at: &Location,
        spec: &shape::SliSpec,
        objective: &shape::Objective,
    ) -> Option<Indicator> {
        match (&spec.threshold_metric, &spec.ratio_metric) {
            (Some(metric), None) => {
                let query = self.query(metric)?;
                let (Some(op), Some(value)) = (&objective.op, objective.value) else {
                    let message = "thresholdMetric needs op and value in its objective: such as op: lte, value: 0.1".to_owned();
                    return self.refuse(at, message);
                };
                let known = match op.value.as_str() {
                    "lte" => "<=",
                    "gte" => ">=",
                    "lt" => "<",
                    "gt" => ">",
                    other => {
                        let message = format!("op {other:?} is not known: use lte, gte, lt or gt");
                        return self.refuse(&op.referenced, message);
                    }
                };
                Some(Indicator::Threshold { query, op: known, value })
            }
            (None, Some(ratio)) => self.ratio(ratio),
            (Some(_), Some(ratio)) => self.refuse(
                &ratio.referenced,
                "thresholdMetric and ratioMetric exclude each other: give one".to_owned(),
            ),
            (None, None) => {
                self.refuse(at, "measures nothing: give thresholdMetric or ratioMetric".to_owned())
            }
        }
    }

    fn ratio(&mut self, ratio: &Spanned<shape::RatioMetric>) -> Option<Indicator> {
        let at = &ratio.referenced;
        let metric = &ratio.value;
        match (&metric.good, &metric.bad, &metric.total, &metric.raw) {
            (Some(part), None, Some(total), None) | (None, Some(part), Some(total), None) => {
                let (part, total) = (self.query(part)?, self.query(total)?);
                let part_is_good = metric.good.is_some();
                Some(Indicator::Ratio { counter: metric.counter, part, part_is_good, total })
            }
            (None, None, None, Some(raw)) => {
                let query = self.query(raw)?;
                match metric.raw_type.as_ref().map(|t| (t, t.value.as_str())) {
                    Some((_, "success")) => Some(Indicator::Raw { query, success: true }),
                    Some((_, "failure")) => Some(Indicator::Raw { query, success: false }),
                    Some((given, other)) => self.refuse(
                        &given.referenced,
                        format!("rawType {other:?} is not known: use success or failure"),
                    ),
                    None => self.refuse(at, "raw needs rawType: success or failure".to_owned()),
                }
            }
            _ => self.refuse(
                at,
                "ratioMetric needs good and total, or bad and total, or raw and rawType: give one of these".to_owned(),
            ),
        }
    }

    fn query(&mut self, metric: &shape::Metric) -> Option<String> {
        let source = &metric.metric_source;
        let all = self.all;
        let kind = match (&source.value.metric_source_ref, &source.value.kind) {
            (_, Some(kind)) => Some(kind),
            (Some(name), None) => match all.sources.get(&name.value) {
                Some((_, _, found)) => Some(&found.kind),
                None => return self.undefined(name, "DataSource", all.sources.keys().collect()),
            },
            (None, None) => None,
        };
        if let Some(kind) =
            kind.filter(|kind| !SOURCES.contains(&kind.value.to_lowercase().as_str()))
        {
            let message = format!(
                "data source type {:?} is not supported: Watchkeep asks in PromQL; use one of {}",
                kind.value,
                SOURCES.join(", ")
            );
            return self.refuse(&source.referenced, message);
        }
        match &source.value.spec.query {
            Some(query) if !query.value.trim().is_empty() => {
                let text = query.value.trim();
                match self.expressions.check(text) {
                    // What stands around it in rules must not become part of its comment.
                    Ok(()) if text.contains('#') && !is_selector(text) => Some(format!("{text}\n")),
                    Ok(()) => Some(text.to_owned()),
                    Err(error) => {
                        let message = format!("query {text:?} is not PromQL: {error}");
                        self.refuse(&query.referenced, message)
                    }
                }
            }
            _ => self.refuse(
                &source.referenced,
                "metricSource.spec has no query: give one in PromQL".to_owned(),
            ),
        }
    }
}
