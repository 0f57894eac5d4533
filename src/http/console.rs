//! `/`: the console. Plain pages that work without a script: the cluster, the services, the incidents.

use axum::{
    Form, Router,
    body::Body,
    extract::{Path, State},
    http::{Method, Request, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing,
};
use http_body_util::BodyExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower::ServiceExt;
use watchkeep_catalog::{
    Client, ClientError, Failover, FailoverStop, Incident, Panic, Service, Time, keys,
};

use super::{
    Site,
    health::{self, Seen},
    html::{self, Text, table},
    problem::Problem,
};

mod alerts;
mod duty;
mod failover;
mod failovers;
mod incident;
mod incidents;
mod services;

/// Rows of what is over: resolved incidents and failovers.
const PAST_MAX: usize = 10;
/// Answers of the alerting API that the console reads: all that fires, in a storm.
const ANSWER_BYTES_MAX: usize = 64 << 20;

pub(super) fn router(site: Site) -> Router {
    Router::new()
        .route("/", routing::get(home))
        .route("/incidents", routing::get(incidents::show))
        .route("/incidents/{id}", routing::get(incident::show).post(incident::act))
        .route("/incidents/{id}/acknowledge", routing::post(acknowledge))
        .route("/services/{service}", routing::get(services::show))
        .route("/failovers", routing::get(failovers::show))
        .route("/failovers/stop", routing::post(failovers::stop))
        .route("/failovers/resume", routing::post(failovers::resume))
        .route("/failovers/{id}", routing::get(failover::show).post(failover::act))
        .route("/alerts", routing::get(alerts::show))
        .route("/alerts/silences", routing::post(alerts::silence))
        .route("/alerts/silences/{id}/expire", routing::post(alerts::expire))
        .route("/oncall", routing::get(duty::show))
        .with_state(site)
}

/// What the registry knows, read for one page.
struct Known {
    instances: Vec<Seen>,
    services: Vec<Service>,
    panics: Vec<Panic>,
    incidents: Vec<Incident>,
    failovers: Vec<Failover>,
    /// Failovers are stopped.
    stop: Option<FailoverStop>,
}

async fn known(client: &Client) -> Result<Known, ClientError> {
    let ((instances, _), services, panics, mut incidents, failovers, stop) = tokio::try_join!(
        health::all(client),
        records::<Service>(client, keys::SERVICES),
        records::<Panic>(client, keys::PANICS),
        records::<Incident>(client, keys::INCIDENTS),
        client.list_latest(keys::FAILOVERS, None, PAST_MAX),
        client.get(keys::FAILOVER_STOP),
    )?;
    incidents.sort_by_key(|i| std::cmp::Reverse(i.opened_at));
    let failovers = failovers.kvs.iter().filter_map(|kv| kv.json().ok()).collect();
    let stop = stop.as_ref().map(watchkeep_alerting::stop_of);
    Ok(Known { instances, services, panics, incidents, failovers, stop })
}

async fn records<T: DeserializeOwned>(
    client: &Client,
    prefix: &str,
) -> Result<Vec<T>, ClientError> {
    let (kvs, _) = client.list(prefix).await?;
    Ok(kvs.iter().filter_map(|kv| kv.json().ok()).collect())
}

async fn home(State(site): State<Site>) -> Html<String> {
    let mut body = format!("<h1>Watchkeep on {}</h1>", Text(&site.name));
    body.push_str(&cluster(&site));
    match known(&site.client).await {
        Ok(known) => {
            body.push_str(&known.stop.as_ref().map(failovers::stopped).unwrap_or_default());
            body.push_str(&incidents::of_now(&known.incidents));
            body.push_str(&duty::now(site.alerting.clone()).await);
            body.push_str(&services::all(known.services, &known.panics, &known.instances));
            body.push_str(&failovers::recent(&known.failovers, PAST_MAX));
        }
        Err(error) => {
            let said = Text(error);
            body.push_str(&format!(
                "<p class=\"critical\">The registry does not answer: {said}</p>"
            ));
            // Just then somebody has to be found.
            body.push_str(&duty::now(site.alerting.clone()).await);
        }
    }
    html::page(&format!("Watchkeep: {}", site.name), true, &body)
}

fn cluster(site: &Site) -> String {
    let Some(state) = site.cluster.as_ref().map(super::ClusterView::look) else {
        return "<h2>Registry</h2><p class=\"dim\">It runs on other nodes.</p>".to_owned();
    };
    let row = |member: super::ClusterMember| {
        let role = match state.leader {
            _ if member.is_learner => "learner",
            Some(leader) if leader == member.id => "leader",
            Some(_) => "follower",
            None => "",
        };
        vec![
            member.id.to_string(),
            role.to_owned(),
            Text(&member.peer).to_string(),
            if member.id == state.node_id { "this node" } else { "" }.to_owned(),
        ]
    };
    let rows: Vec<_> = state.members.iter().cloned().map(row).collect();
    let leader = match state.leader {
        Some(_) => String::new(),
        None => " <span class=\"critical\">no leader</span>".to_owned(),
    };
    let members = table(&["Id", "Role", "Peer address", ""], &rows, "No members yet.");
    format!("<h2>Registry</h2><p>Term {}{leader}</p>{members}", state.term)
}

/// A record's own word for a state; it is one of a few, so it may be a CSS class.
fn word(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn time(at: Time) -> String {
    format!("<time datetime=\"{}\">{}</time>", at.to_rfc3339(), at.format("%Y-%m-%d %H:%M:%S UTC"))
}

#[derive(Debug, Deserialize)]
struct By {
    by: String,
}

/// The button: passes the acknowledgement on to the API and goes back.
async fn acknowledge(
    State(site): State<Site>,
    Path(id): Path<String>,
    Form(By { by }): Form<By>,
) -> Result<Response, Problem> {
    watchkeep_catalog::check_name("incident", &id)?;
    let Some(alerting) = site.alerting else {
        return Err(Problem::not_found(
            "role alerting does not run on this node: ask one where it does",
        ));
    };
    let body = json!({"action": "acknowledge", "by": by});
    let (status, answer) =
        ask(alerting, Method::POST, &format!("/v1/incidents/{id}"), Some(body)).await?;
    if status.is_success() {
        return Ok(Redirect::to("/").into_response());
    }
    Err(Problem::new(status, answer["error"].as_str().unwrap_or("refused")))
}

/// What the alerting API of this node has under `path`.
async fn get<T: DeserializeOwned>(alerting: Option<Router>, path: &str) -> Result<T, Problem> {
    let Some(alerting) = alerting else {
        return Err(Problem::not_found(
            "role alerting does not run on this node: ask one where it does",
        ));
    };
    let (status, answer) = ask(alerting, Method::GET, path, None).await?;
    if !status.is_success() {
        return Err(Problem::new(status, answer["error"].as_str().unwrap_or("refused")));
    }
    serde_json::from_value(answer)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{path}: {e}")))
}

fn is_link(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// One call of the alerting API, within this process.
async fn ask(
    api: Router,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), Problem> {
    let internal = |message: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message);
    let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(body)
        .map_err(|e| internal(e.to_string()))?;
    let response = api.oneshot(request).await.map_err(|e| internal(e.to_string()))?;
    let status = response.status();
    let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let bytes = limited.collect().await.map_err(|e| internal(e.to_string()))?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}
