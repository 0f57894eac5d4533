//! How this member is, asked by HTTP: `/health`, `/livez`, `/readyz` and a path for each check, as etcd 3.7 answers them
//! (etcd: `server/etcdserver/api/etcdhttp/health.go`); and by gRPC (`grpc.health.v1`), which follows readiness.
//!
//! ```text
//! $ curl :2379/readyz?verbose            $ curl :2379/readyz/data_corruption
//! [+]data_corruption ok                  [-]data_corruption failed: alarm activated: CORRUPT
//! [+]serializable_read ok
//! [+]linearizable_read ok
//! [+]non_learner ok
//! ok
//! ```

use std::{fmt::Write, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    cluster::{Cluster, ClusterError},
    mvcc::{APPLIED, CORRUPT, NO_SPACE, Table, View},
    node::raft_numbers,
};

/// How often the serving status is judged.
const INTERVAL: Duration = Duration::from_secs(1);
/// The service of gRPC health that stands for the whole server, and etcd's main ones.
const SERVICES: [&str; 2] = ["", "etcdserverpb.KV"];

/// One thing that must be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// No member's data differs from the others'.
    DataCorruption,
    /// This member's own state can be read.
    SerializableRead,
    /// The cluster has a quorum within reach.
    LinearizableRead,
    /// It has a vote.
    NonLearner,
}

/// Alive: no help if the process is not started again.
const LIVEZ: [Check; 1] = [Check::SerializableRead];
/// Ready: requests may be sent here.
const READYZ: [Check; 4] =
    [Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, cluster: &Cluster) -> Result<(), String> {
        match self {
            Self::DataCorruption if raised(cluster, CORRUPT) => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Self::NonLearner if raft_numbers(cluster.raft()).is_learner => {
                Err("not supported for learner".to_owned())
            }
            Self::DataCorruption | Self::NonLearner => Ok(()),
            Self::SerializableRead => readable(cluster).map_err(|e| e.to_string()),
            Self::LinearizableRead => {
                cluster.linearizable_view().await.map(drop).map_err(|e| e.to_string())
            }
        }
    }
}

/// Whether any member has raised the alarm.
fn raised(cluster: &Cluster, alarm: u32) -> bool {
    cluster.store().alarms() & (1 << alarm) != 0
}

/// Whether this member's own state can be read.
fn readable(cluster: &Cluster) -> Result<(), ClusterError> {
    cluster.store().life().ok_or(ClusterError::Replaced)?;
    cluster.store().view().get(Table::Meta, APPLIED)?;
    Ok(())
}

/// The paths.
pub(crate) fn router(cluster: Cluster) -> Router {
    let mut router = Router::new().route("/health", only_get(get(health)));
    for (path, checks) in [("/livez", &LIVEZ[..]), ("/readyz", &READYZ[..])] {
        router = router.route(path, judge(path, checks));
        for check in checks {
            let one = std::slice::from_ref(check);
            router = router.route(&format!("{path}/{}", check.name()), judge(path, one));
        }
        let other = get(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") });
        router = router.route(&format!("{path}/{{*check}}"), other);
    }
    router.with_state(cluster)
}

fn only_get(route: MethodRouter<Cluster>) -> MethodRouter<Cluster> {
    route.fallback(|| async {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET"))];
        (StatusCode::METHOD_NOT_ALLOWED, allow, "Method Not Allowed\n")
    })
}

type Pairs = Query<Vec<(String, String)>>;

/// What is left out, by `?exclude=`.
fn excluded(pairs: &[(String, String)]) -> impl Iterator<Item = &str> {
    pairs.iter().filter(|(name, _)| name == "exclude").map(|(_, value)| value.as_str())
}

/// Well when no alarm is raised and a read succeeds: a linearizable one, unless `?serializable=true`.
async fn health(State(cluster): State<Cluster>, Query(pairs): Pairs) -> Response {
    let local = pairs.iter().any(|(name, value)| name == "serializable" && value == "true");
    let reason = unwell(&cluster, local, |alarm| excluded(&pairs).any(|name| name == alarm)).await;
    let Some(reason) = reason else {
        cluster.metrics().health_success.inc();
        return Json(json!({ "health": "true", "reason": "" })).into_response();
    };
    cluster.metrics().health_failures.inc();
    let body = json!({ "health": "false", "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE, format!("{body}\n")).into_response()
}

async fn unwell(
    cluster: &Cluster,
    local: bool,
    is_excluded: impl Fn(&str) -> bool,
) -> Option<String> {
    for (alarm, name) in [(NO_SPACE, "NOSPACE"), (CORRUPT, "CORRUPT")] {
        if raised(cluster, alarm) && !is_excluded(name) {
            return Some(format!("ALARM {name}"));
        }
    }
    if !local && !cluster.has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let read = match local {
        true => readable(cluster),
        false => cluster.linearizable_view().await.map(drop),
    };
    read.err().map(|error| format!("RANGE ERROR:{error}"))
}

fn judge(path: &'static str, checks: &'static [Check]) -> MethodRouter<Cluster> {
    let handler = move |State(cluster): State<Cluster>, Query(pairs): Pairs| async move {
        // A check of its own path cannot be left out.
        let all = checks.len() == 1 && path != "/livez";
        let wanted =
            checks.iter().filter(|check| all || !excluded(&pairs).any(|n| n == check.name()));
        let (mut well, mut text) = (true, String::new());
        for check in wanted {
            let (result, kind) = (check.run(&cluster).await, path.trim_start_matches('/'));
            cluster.metrics().checked(kind, check.name(), result.is_ok());
            // Writing into a string cannot fail.
            let _ = match &result {
                Ok(()) => writeln!(text, "[+]{} ok", check.name()),
                Err(error) => writeln!(text, "[-]{} failed: {error}", check.name()),
            };
            well &= result.is_ok();
        }
        let plain = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        if !well {
            return (StatusCode::SERVICE_UNAVAILABLE, plain, text + "\n");
        }
        if !pairs.iter().any(|(name, _)| name == "verbose") {
            text.clear();
        }
        (StatusCode::OK, plain, text + "ok\n")
    };
    only_get(get(handler))
}

/// Tells those who watch `grpc.health.v1` whether this member is ready.
pub(crate) async fn report(cluster: Cluster, reporter: HealthReporter) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let mut ready = true;
        for check in READYZ {
            ready &= check.run(&cluster).await.is_ok();
        }
        // Each telling is a message to everybody who watches.
        if told.replace(ready) == Some(ready) {
            continue;
        }
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
    }
}
