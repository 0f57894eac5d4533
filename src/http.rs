//! The HTTP listener of a node: its own resources, the rooms' routers, and what goes around all of them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use watchkeep_catalog::Client;
use watchkeep_collector::ForeignState;

use crate::metrics::HttpMetrics;

mod asked;
mod assets;
mod cluster;
mod console;
mod events;
mod fleet;
mod foreign;
mod guard;
pub(crate) mod health;
mod history;
mod html;
mod instances;
mod observe;
mod problem;
mod process;
mod prometheus;
mod reader;
mod reports;
mod rules;
mod runbooks;
mod sd;
mod services;

pub(crate) use self::prometheus::{Asked, Facts};
pub(crate) use cluster::{ClusterMember, ClusterState, ClusterView};
pub(crate) use guard::Guard;
use problem::Problem;
pub(crate) use process::gather;
pub(crate) use reader::Reader;
pub(crate) use rules::router as rules_router;

/// Largest body that is read: etcd's limit of a request.
pub(crate) const BODY_BYTES_MAX: usize = 1_572_864;

/// What the pages need.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The registry.
    pub(crate) client: Client,
    /// What reads the catalog, from the registry or from memory.
    pub(crate) reader: Reader,
    /// The registry as this node sees it; none where role registry does not run.
    pub(crate) cluster: Option<ClusterView>,
    /// Alerting's own API; none where role alerting does not run.
    pub(crate) alerting: Option<Router>,
    /// What is mirrored of foreign registrations; none where no collector runs.
    pub(crate) foreign: Option<ForeignState>,
    /// Remote write; none where no series are kept.
    pub(crate) write: Option<Router>,
    /// What Prometheus's API asks.
    pub(crate) asked: Asked,
    /// `/probe`; none where no collector runs, or it has no modules.
    pub(crate) probe: Option<Router>,
    /// What `/metrics` shows.
    pub(crate) metrics: ::prometheus::Registry,
    /// The metrics of a series store beside which no collector runs.
    pub(crate) series_metrics: Option<::prometheus::Registry>,
    /// This node's name.
    pub(crate) name: String,
}

/// Everything on the HTTP listener, behind a guard where there is one.
pub(crate) fn router(site: Site, guard: Option<Arc<Guard>>, metrics: Arc<HttpMetrics>) -> Router {
    let past = middleware::from_fn_with_state(site.client.clone(), history::travel);
    let mut router = Router::new()
        .merge(services::router(site.reader.clone()))
        .merge(instances::router(site.reader.clone()))
        .merge(reports::router(site.client.clone()))
        .merge(sd::router(site.reader.clone()))
        .merge(fleet::router(site.reader.clone()))
        .merge(foreign::router(site.foreign.clone()))
        .merge(cluster::router(site.cluster.clone()))
        .merge(process::router(
            site.metrics.clone(),
            site.series_metrics.clone(),
            site.client.clone(),
        ))
        .merge(assets::router())
        .merge(runbooks::router())
        .merge(self::prometheus::router(site.asked.clone()));
    if let Some(write) = site.write.clone() {
        router = router.merge(write);
    }
    if let Some(probe) = site.probe.clone() {
        router = router.merge(probe);
    }
    router = match site.alerting.clone() {
        Some(alerting) => router.merge(alerting),
        None => router.merge(self::prometheus::no_rules()),
    };
    let absent = Absent::of(&site);
    router = router
        .merge(console::router(site))
        .fallback(move |request: Request| async move { absent.answer(request.uri().path()) })
        .layer(past)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_words))
        .layer(middleware::from_fn(same_site));
    if let Some(guard) = guard {
        router = router.layer(middleware::from_fn_with_state(guard, guard::guard));
    }
    router.layer(middleware::from_fn_with_state(metrics, observe::observe))
}

/// What this node could have and has not.
#[derive(Debug, Clone, Copy)]
struct Absent {
    alerting: bool,
    probe: bool,
}

impl Absent {
    fn of(site: &Site) -> Self {
        Self { alerting: site.alerting.is_none(), probe: site.probe.is_none() }
    }

    /// Where there is nothing: why, if that is known.
    fn answer(self, path: &str) -> Problem {
        const ALERTING: [&str; 10] = [
            "/v1/oncall",
            "/v1/incidents",
            "/v1/failover",
            "/v1/maintenance",
            "/v1/slo",
            "/v1/drains",
            "/v1/roles",
            "/v1/links",
            "/v1/heartbeats/",
            "/v2/enqueue",
        ];
        let why = if self.alerting && ALERTING.iter().any(|begin| path.starts_with(begin)) {
            "role alerting does not run on this node: ask one where it does"
        } else if path.starts_with("/api/v2/") {
            "this node is no Alertmanager, or has no such call: set alerting.alertmanager_config (docs/alertmanager.md)"
        } else if self.probe && path == "/probe" {
            "this node has no modules: set collector.blackbox_config (docs/blackbox.md) where role collector runs"
        } else {
            "there is nothing here; / lists what there is"
        };
        Problem::not_found(format!("{path}: {why}"))
    }
}

/// What the listener itself refuses is refused in the API's words, too: a method that a path does not have, a body that is
/// too large.
async fn in_words(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = next.run(request).await;
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_bare = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED if is_bare => {
            // The router puts the header in behind us.
            let said = format!("{method} is not possible on {path}: the header Allow says what is");
            Problem::new(status, said).into_response()
        }
        StatusCode::PAYLOAD_TOO_LARGE if is_bare => Problem::new(
            status,
            format!("the body is larger than {BODY_BYTES_MAX} bytes: send less"),
        )
        .into_response(),
        _ => answer,
    }
}

/// Keeps pages of other sites from changing anything through a visitor's browser. Browsers say where a
/// request comes from in `Sec-Fetch-Site`; other clients do not send it.
async fn same_site(request: Request, next: Next) -> Result<Response, Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let from = request.headers().get("sec-fetch-site").and_then(|v| v.to_str().ok());
    if reads || matches!(from, None | Some("same-origin" | "none")) {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "a page of another site may not change anything here"))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn said(router: &Router, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        let status = answer.status();
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn what_the_listener_refuses_is_said_in_words() {
        let router = Router::new()
            .route("/a", routing::get(|| async { "a" }).post(|body: String| async { body }))
            .layer(DefaultBodyLimit::max(4))
            .layer(middleware::from_fn(in_words));
        for (method, body, status, words) in [
            (Method::GET, "", 200, "a"),
            (Method::POST, "four", 200, "four"),
            (Method::POST, "fives", 413, "the body is larger than 1572864 bytes: send less"),
            (
                Method::DELETE,
                "",
                405,
                "DELETE is not possible on /a: the header Allow says what is",
            ),
        ] {
            let (found, said) = said(&router, method, "/a", body).await;
            assert!(found.as_u16() == status && said.contains(words), "{found} {said}");
        }
    }

    #[test]
    fn what_is_not_there_says_why() {
        let absent = Absent { alerting: true, probe: true };
        for (path, why) in [
            ("/v1/incidents/x", "/v1/incidents/x: role alerting does not run on this node"),
            ("/api/v2/silences", "set alerting.alertmanager_config"),
            ("/probe", "set collector.blackbox_config"),
            ("/nowhere", "/nowhere: there is nothing here; / lists what there is"),
        ] {
            let problem = format!("{:?}", absent.answer(path));
            assert!(problem.contains(why), "{path}: {problem}");
        }
        let absent = Absent { alerting: false, probe: false };
        assert!(format!("{:?}", absent.answer("/v1/slo/x/y")).contains("nothing here"));
    }
}
