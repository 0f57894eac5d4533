//! Prometheus's template functions, by its documentation ("Template reference"). Pure: what `query` asks comes in.

use gotmpl::Value;

use super::{
    Functions, failed, humanize, humanize_1024, humanize_duration, humanize_percentage, number,
    samples,
    strings::{query_escape, strip_domain, strip_port, text, with_strings},
    time::{self, with_times},
    vector::{TemplateSample, with_vectors},
};
use crate::rule::parse_duration;

/// Where rules are shown, for links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The URL that people open.
    pub external_url: String,
}

impl Site {
    /// The path of the URL.
    fn path(&self) -> String {
        url::Url::parse(&self.external_url)
            .map(|url| url.path().trim_end_matches('/').to_owned())
            .unwrap_or_default()
    }
}

/// All of Prometheus's functions. `query` answers a PromQL expression at the time of the rendering.
#[must_use]
pub fn prometheus(
    site: &Site,
    query: impl Fn(&str) -> Result<Vec<TemplateSample>, String> + Send + Sync + 'static,
) -> Functions {
    let (path, url) = (site.path(), site.external_url.clone());
    let functions = with_numbers(with_vectors(with_times(with_strings(Functions::default()))));
    functions
        .with("query", move |a| {
            let [expr] = a.strings()?;
            query(expr)
                .map(|found| samples(&found))
                .map_err(|e| failed(format!("query {expr:?}: {e}")))
        })
        .with("stripPort", |a| Ok(text(strip_port(a.strings::<1>()?[0]))))
        .with("stripDomain", |a| Ok(text(strip_domain(a.strings::<1>()?[0]))))
        .with("urlQueryEscape", |a| Ok(text(query_escape(a.strings::<1>()?[0]))))
        .with("graphLink", |a| Ok(text(link(a.strings::<1>()?[0], 0))))
        .with("tableLink", |a| Ok(text(link(a.strings::<1>()?[0], 1))))
        .with("pathPrefix", move |a| a.exactly::<0>().map(|_| text(path.as_str())))
        .with("externalURL", move |a| a.exactly::<0>().map(|_| text(url.as_str())))
}

/// With `now` (Prometheus 3.6): the time of the evaluation in seconds.
#[must_use]
pub fn with_now(functions: Functions, seconds: f64) -> Functions {
    functions.with("now", move |a| a.exactly::<0>().map(|_| Value::Float(seconds)))
}

/// The page of an expression, below the external URL: 0 as a graph, 1 as a table.
pub(crate) fn link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", query_escape(expr))
}

/// With the functions on numbers and times that rules and receivers share.
pub(super) fn with_numbers(functions: Functions) -> Functions {
    functions
        .with("humanize", |a| Ok(text(humanize(a.number()?))))
        .with("humanize1024", |a| Ok(text(humanize_1024(a.number()?))))
        .with("humanizeDuration", |a| Ok(text(humanize_duration(a.number()?))))
        .with("humanizePercentage", |a| Ok(text(humanize_percentage(a.number()?))))
        .with("humanizeTimestamp", |a| {
            let seconds = a.number()?;
            let at = time::from_seconds(seconds).filter(|_| seconds.is_finite());
            Ok(text(at.map_or_else(|| number::general(seconds, 4), |at| time::show(&at))))
        })
        .with("toTime", |a| {
            let seconds = a.number()?;
            time::from_seconds(seconds)
                .ok_or_else(|| failed(format!("toTime: {seconds} is no time")))
        })
        .with("toDuration", |a| Ok(time::duration(a.number()?)))
        .with("parseDuration", |a| {
            let [duration] = a.strings()?;
            let read =
                parse_duration(duration).map_err(|e| failed(format!("parseDuration: {e}")))?;
            Ok(Value::Float(read.as_secs_f64()))
        })
}
