//! A Prometheus-compatible system that is already there, as a data source: questions by `/api/v1/query` and
//! `/api/v1/query_range`, recorded series by remote write. Knows the protocol, nothing of rules.
//!
//! ```text
//! question ─▶ POST, or GET where POST is refused ─▶ 2xx: answer   4xx: the question is at fault   else: again, a few times
//! ```

use std::time::Duration;

use futures::future::BoxFuture;

use super::{QueryAnswer, QueryData, Recorded, SeriesData, Source, SourceError};

mod calls;
mod config;
mod door;
mod wire;
mod write;

pub use config::DataSourceConfig;

use calls::Calls;

/// The HTTP API of a Prometheus, VictoriaMetrics, Thanos or Mimir.
#[derive(Debug)]
pub struct External {
    calls: Calls,
}

impl External {
    /// Makes it ready: files are read, nothing is sent.
    ///
    /// # Errors
    /// The first setting that is wrong: its field and what to do.
    pub fn new(config: &DataSourceConfig) -> Result<Self, (String, String)> {
        Ok(Self { calls: Calls::new(config)? })
    }

    async fn ask(
        &self,
        path: &str,
        expr: &str,
        times: &[(&str, i64)],
    ) -> Result<QueryAnswer, SourceError> {
        let mut form = vec![("query", expr.to_owned())];
        form.extend(times.iter().map(|(name, ms)| (*name, seconds(*ms))));
        // Prometheus passes it over; VictoriaMetrics would answer as of half a minute ago without it.
        form.push(("nocache", "1".to_owned()));
        form.push(("timeout", format!("{}ms", self.calls.timeout().as_millis())));
        let body = self.calls.ask(path, expr, &form).await?;
        wire::answer(&body).map_err(|message| self.calls.unavailable(message))
    }
}

impl Source for External {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from_ms: i64,
        to_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        Box::pin(async move {
            // A range selector, evaluated once, is the raw samples. Prometheus 3's range excludes its left end.
            let range = to_ms.saturating_sub(from_ms).saturating_add(1).max(1);
            let expr = format!("{selector}[{range}ms]");
            let answer = self.ask("query", &expr, &[("time", to_ms)]).await;
            let answer = answer.map_err(|error| of_selector(error, selector))?;
            let QueryData::Matrix(rows) = answer.data else {
                let message = "the answer to a range selector is no matrix".to_owned();
                return Err(SourceError::Read { selector: selector.to_owned(), message });
            };
            let series = rows.into_iter().map(|row| {
                let points = row.points.into_iter();
                let samples = points.filter_map(|(at, value)| Some((at, value.float()?)));
                let samples = samples.filter(|(at, _)| (from_ms..=to_ms).contains(at)).collect();
                SeriesData { labels: row.labels, samples }
            });
            Ok(series.filter(|series| !series.samples.is_empty()).collect())
        })
    }

    fn query<'a>(
        &'a self,
        expr: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(async move { self.ask("query", expr, &[("time", at_ms)]).await })
    }

    fn query_range<'a>(
        &'a self,
        expr: &'a str,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        let times = [("start", from_ms), ("end", to_ms), ("step", step_ms)];
        Box::pin(async move { self.ask("query_range", expr, &times).await })
    }

    fn write(&self, samples: Vec<Recorded>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            if samples.is_empty() {
                return Ok(());
            }
            let body = write::encode(&samples);
            let sent = self.calls.write(body).await;
            sent.map_err(|message| SourceError::Write { samples: samples.len(), message })
        })
    }
}

/// Seconds with as many digits as there are: `1500` is `1.500`.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000)
}

/// The words of an error about the selector that was asked, rather than about what became of it.
fn of_selector(error: SourceError, selector: &str) -> SourceError {
    let selector = selector.to_owned();
    match error {
        SourceError::Expression { message, .. } => SourceError::Selector { selector, message },
        SourceError::Evaluation { message, .. } => SourceError::Read { selector, message },
        other => other,
    }
}

/// The pause before another try: `min`, doubled with each, at most `max`.
fn backoff(min: Duration, max: Duration, tries: u32) -> Duration {
    min.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(max)
}

#[cfg(test)]
mod tests;
