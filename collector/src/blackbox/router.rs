//! `GET /probe`: probes now and answers with what came of it, as blackbox_exporter does.

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    config::{Module, Modules},
    desk::Desk,
    page::Page,
};
use crate::{
    CollectorConfig,
    metrics::Metrics,
    probe::{Context, Files},
};

/// Says how long Prometheus will wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// What the answer needs on its way back, out of that time.
const ANSWER_SECONDS: f64 = 0.5;
/// Longest probe when neither module nor scrape says anything.
const TIMEOUT_SECONDS: f64 = 120.0;
/// The module of a request that names none.
const DEFAULT_MODULE: &str = "http_2xx";
/// Of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Room {
    modules: Modules,
    desk: Desk,
    permits: Semaphore,
    probes_max: usize,
    metrics: Metrics,
}

/// The route. As many probes run at a time as `config` allows; further ones wait, for no longer than they may take.
///
/// # Errors
/// In words, when a range of addresses is none or TLS cannot be set up.
pub fn probe_router(
    modules: Modules,
    config: &CollectorConfig,
    metrics: Metrics,
) -> Result<Router, String> {
    let policy = config.policy().map_err(|(field, message)| format!("{field}: {message}"))?;
    // Whoever wrote the modules configured the collector.
    let context = Context::new(policy, Files::Any).map_err(|error| error.to_string())?;
    let probes_max = config.probes_max;
    let permits = Semaphore::new(probes_max);
    let room = Room { modules, desk: Desk::new(context), permits, probes_max, metrics };
    Ok(Router::new().route("/probe", get(probe)).with_state(Arc::new(room)))
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    target: String,
    #[serde(default)]
    module: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    debug: String,
}

async fn probe(
    State(room): State<Arc<Room>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    match answer(&room, &asked, &headers).await {
        Ok(response) => response,
        Err((status, result, words)) => {
            room.metrics.probe_requests.with_label_values(&[result]).inc();
            (status, format!("{words}\n")).into_response()
        }
    }
}

type Refusal = (StatusCode, &'static str, String);

async fn answer(room: &Room, asked: &Asked, headers: &HeaderMap) -> Result<Response, Refusal> {
    let refuse = |words: String| (StatusCode::BAD_REQUEST, "refused", words);
    let name = if asked.module.is_empty() { DEFAULT_MODULE } else { &asked.module };
    let module = room.modules.modules.get(name).ok_or_else(|| {
        let known: Vec<_> = room.modules.modules.keys().map(String::as_str).collect();
        refuse(format!("Unknown module {name:?}; known: {}", known.join(", ")))
    })?;
    if asked.target.is_empty() {
        return Err(refuse("Target parameter is missing: ask /probe?target=…&module=…".to_owned()));
    }
    let within = within(module, headers).map_err(refuse)?;
    let hostname = hostname(module, &asked.hostname).map_err(refuse)?;
    let permit = timeout(within, room.permits.acquire()).await;
    let Ok(Ok(_permit)) = permit else {
        let words = format!(
            "{} probes are under way, as many as collector.probes_max allows: ask again, or allow more",
            room.probes_max
        );
        return Err((StatusCode::SERVICE_UNAVAILABLE, "busy", words));
    };
    let debug = asked.debug == "true";
    let (reach, outcome) =
        room.desk.probe((name, module), &asked.target, hostname, within, debug).await;
    let result = if outcome.good { "success" } else { "failure" };
    room.metrics.probe_requests.with_label_values(&[result]).inc();
    let prober = module.prober.ok_or_else(|| refuse(format!("module {name:?} has no prober")))?;
    let page = Page::new(prober, reach, &outcome).text();
    if !debug {
        return Ok(([(CONTENT_TYPE, TEXT)], page).into_response());
    }
    let mut text = "Logs for the probe:\n".to_owned();
    for (at, note) in &outcome.notes {
        let _ = writeln!(text, "{:>9.3} ms  {note}", at.as_secs_f64() * 1e3);
    }
    let _ = writeln!(
        text,
        "{:>9.3} ms  {result}: {}",
        outcome.duration.as_secs_f64() * 1e3,
        outcome.reason
    );
    // Plain strings and numbers always have a JSON form, which is YAML, too.
    let module = serde_json::to_string_pretty(module).unwrap_or_default();
    let _ = write!(
        text,
        "\n\nMetrics that would have been returned:\n{page}\n\nModule configuration:\n{module}\n"
    );
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The module's timeout, cut to what the scrape allows.
fn within(module: &Module, headers: &HeaderMap) -> Result<Duration, String> {
    let scrape = match headers.get(SCRAPE_TIMEOUT) {
        None => 0.0,
        Some(value) => {
            let seconds = value.to_str().ok().and_then(|text| text.parse::<f64>().ok());
            seconds.filter(|s| s.is_finite() && *s >= 0.0).ok_or_else(|| {
                format!("header {SCRAPE_TIMEOUT} is {value:?}: give seconds, like 10 or 2.5")
            })?
        }
    };
    let scrape = if scrape == 0.0 { TIMEOUT_SECONDS } else { scrape };
    let own = module.timeout.map_or(0.0, |timeout| timeout.0.as_secs_f64());
    let most = scrape - ANSWER_SECONDS;
    let seconds = match (own > 0.0, most > 0.0) {
        (true, true) => own.min(most),
        (true, false) => own,
        (false, true) => most,
        (false, false) => scrape,
    };
    // A day is the longest that a check may take.
    Ok(Duration::from_secs_f64(seconds.clamp(0.001, 86_400.0)))
}

/// The host name to send, unless the module has one of its own.
fn hostname<'a>(module: &Module, asked: &'a str) -> Result<Option<&'a str>, String> {
    let Some(http) = module.http.as_ref().filter(|_| !asked.is_empty()) else {
        return Ok(Some(asked).filter(|name| !name.is_empty()));
    };
    let own = http.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    match own {
        Some((_, value)) if value != asked => Err(format!(
            "the module sends host {value:?}, the parameter hostname is {asked:?}: remove one of them"
        )),
        _ => Ok(Some(asked)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_the_modules_cut_to_the_scrapes() {
        let module = |timeout: &str| -> Module {
            serde_json::from_str(&format!(r#"{{"prober":"http","timeout":{timeout}}}"#))
                .expect("a module")
        };
        for (own, scrape, ms) in [
            ("null", None, 119_500),
            ("\"5s\"", None, 5_000),
            ("\"5s\"", Some("3"), 2_500),
            ("\"1s\"", Some("3"), 1_000),
            ("null", Some("10.0"), 9_500),
            ("\"1s\"", Some("0.2"), 1_000),
            ("null", Some("0.2"), 200),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(scrape) = scrape {
                headers.insert(SCRAPE_TIMEOUT, scrape.parse().expect("a value"));
            }
            assert_eq!(
                within(&module(own), &headers),
                Ok(Duration::from_millis(ms)),
                "{own} {scrape:?}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert(SCRAPE_TIMEOUT, "soon".parse().expect("a value"));
        assert!(within(&module("null"), &headers).expect_err("no number").contains("\"soon\""));
    }
}
