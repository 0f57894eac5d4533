//! `/federate`: the last sample of each selected series, as a page that a Prometheus scrapes.

use std::{collections::BTreeMap, fmt::Write};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::Utc;
use watchkeep_series::{
    Labels, METRIC_NAME, Matcher, Queryable, Sample, SeriesStore, general, is_stale,
    promql::EvalError,
};

use super::{Asked, answer::Refusal, params::Params, series::selector};
use crate::querier::go_on;

/// The format's name.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(asked: Asked) -> Router {
    Router::new().route("/federate", get(federate)).with_state(asked)
}

async fn federate(State(asked): State<Asked>, params: Params) -> Result<Response, Refusal> {
    let querier = asked.querier()?;
    let selectors = params.all("match[]").map(selector).collect::<Result<Vec<_>, _>>()?;
    let (lookback_ms, samples_max) = (querier.config().lookback_ms, querier.config().samples_max);
    let to_ms = Utc::now().timestamp_millis();
    let read = querier.run(None, move |store, stop| {
        let mut found = BTreeMap::new();
        for matchers in &selectors {
            let times = (to_ms - lookback_ms, to_ms);
            last(store, matchers, times, samples_max, stop, &mut found)?;
        }
        Ok(page(&found))
    });
    let (page, _) = read.await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], page).into_response())
}

/// The last samples of series that have not ended.
fn last(
    store: &SeriesStore,
    matchers: &[Matcher],
    (from_ms, to_ms): (i64, i64),
    samples_max: usize,
    stop: &dyn Fn() -> bool,
    found: &mut BTreeMap<Labels, Sample>,
) -> Result<(), EvalError> {
    Queryable::select(store, matchers, from_ms, to_ms, samples_max, &mut |labels, points| {
        go_on(stop)?;
        if let Some(sample) = points.floats.last().filter(|sample| !is_stale(sample.value)) {
            found.insert(labels.clone(), *sample);
        }
        Ok(())
    })?;
    Ok(())
}

fn page(found: &BTreeMap<Labels, Sample>) -> String {
    let mut metrics: BTreeMap<&str, Vec<(&Labels, &Sample)>> = BTreeMap::new();
    for (labels, sample) in found {
        let name = labels.get(METRIC_NAME).unwrap_or_default();
        metrics.entry(name).or_default().push((labels, sample));
    }
    let mut page = String::new();
    for (name, series) in metrics.into_iter().filter(|(name, _)| !name.is_empty()) {
        let name = plain(name, true);
        // A String takes everything.
        let _ = writeln!(page, "# TYPE {name} untyped");
        for (labels, sample) in series {
            let mut pairs: Vec<_> = labels
                .iter()
                .filter(|(label, _)| *label != METRIC_NAME)
                .map(|(label, value)| format!("{}=\"{}\"", plain(label, false), escaped(value)))
                .collect();
            if labels.get("instance").is_none() {
                // Or whoever scrapes would put its own there.
                pairs.push("instance=\"\"".to_owned());
            }
            let (pairs, value) = (pairs.join(","), general(sample.value));
            let _ = writeln!(page, "{name}{{{pairs}}} {value} {}", sample.timestamp_ms);
        }
    }
    page
}

/// A name as whoever scrapes reads it: other characters than the format's own become `_`, as with Prometheus. A line break in
/// a name would make samples of what follows.
fn plain(name: &str, is_metric: bool) -> String {
    let fits = |at: usize, c: char| {
        c == '_'
            || c.is_ascii_alphabetic()
            || (is_metric && c == ':')
            || (at > 0 && c.is_ascii_digit())
    };
    name.chars().enumerate().map(|(at, c)| if fits(at, c) { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let sample = |value| Sample { timestamp_ms: 7, value };
        let series = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied());
        let found = BTreeMap::from([
            (series(&[("__name__", "up"), ("instance", "a\"\n")]), sample(1e6)),
            (series(&[("__name__", "a"), ("job", "x")]), sample(f64::INFINITY)),
            (series(&[("__name__", "b\nup 1"), ("2.ö", "x")]), sample(1.0)),
        ]);
        let expected = concat!(
            "# TYPE a untyped\na{job=\"x\",instance=\"\"} +Inf 7\n",
            "# TYPE b_up_1 untyped\nb_up_1{___=\"x\",instance=\"\"} 1 7\n",
            "# TYPE up untyped\nup{instance=\"a\\\"\\n\"} 1e+06 7\n"
        );
        assert_eq!(page(&found), expected);
    }
}
