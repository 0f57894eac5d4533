//! What alerts and burn rates trigger, over a real etcd: once, not in maintenance, and no longer than they are there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::StatusCode;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use watchkeep_alerting::{
    QueryAnswer, QueryData, SeriesData, Source, SourceError,
    source::{RowValue, VectorRow},
};
use watchkeep_catalog::{
    Alert, Client, Failover, FailoverState, Incident, IncidentStatus, Time, keys,
};

use crate::support::{Node, World, etcd::Etcd, hooks::Hooks, until};

/// Long enough for a trigger that is there to be looked at twice.
const LOOKED_AT: Duration = Duration::from_millis(2_500);

fn config(failover: Value) -> Value {
    json!({"lease_ttl_seconds": 2, "failover": failover})
}

/// An alert of the queue fires since then; answers with its key.
async fn fires(client: &Client, labels: &Value, since: Time) -> String {
    let alert: Alert =
        serde_json::from_value(json!({"labels": labels, "starts_at": since, "updated_at": since}))
            .unwrap();
    let key = keys::alert(alert.fingerprint());
    client.put_json(&key, &alert, 0).await.unwrap();
    key
}

fn labels() -> Value {
    json!({"alertname": "QueueFull", "service": "queue", "instance": "one", "severity": "critical"})
}

/// Somebody else has opened an incident about the same.
async fn opened(node: &Node) -> String {
    let body = json!({"title": "the queue is full", "labels": labels(), "dedup_key": "queue"});
    let (status, incident) = node.post("/v1/incidents", body).await;
    assert_eq!(status, StatusCode::CREATED, "{incident}");
    incident["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_in_maintenance_calls_nobody() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "queue", "when": {"alert": ["alertname=\"QueueFull\""]},
        "callback": {"url": hooks.url("/failover")}}]));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    let window = json!({"scope": {"service": "queue"}, "duration_seconds": 600, "author": "alice"});
    let (status, said) = node.post("/v1/maintenance", window).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    fires(&etcd.client, &labels(), chrono::Utc::now()).await;
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.state, FailoverState::Held, "{journal:?}");
    assert!(journal.outcome.starts_with("held by maintenance"), "{journal:?}");
    assert!(hooks.waiting().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_answered_once_whatever_becomes_of_its_instance() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "queue", "when": {"alert": ["alertname=\"QueueFull\""]},
        "mode": "automatic", "steps": [{"callback": {"url": hooks.url("/failover")}}]}]));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.register("queue", "one", "primary").await;
    fires(&etcd.client, &labels(), chrono::Utc::now()).await;
    let call = hooks.next().await;
    assert_eq!(call.json()["instance"], "one");
    call.answer(200);
    let (journal, _) = world.failover("its end", |f| f.state == FailoverState::Delivered).await;
    // What was done about it has ended its registration, and somebody has closed the incident.
    etcd.client.delete(&keys::instance("queue", "one")).await.unwrap();
    let path = format!("/v1/incidents/{}", journal.incident);
    let (status, said) = node.post(&path, json!({"action": "resolve", "by": "alice"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    tokio::time::sleep(LOOKED_AT).await;
    assert_eq!(world.all::<Failover>(keys::FAILOVERS).await.len(), 1);
    assert!(hooks.waiting().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_is_over_before_it_is_confirmed_moves_nothing() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "queue", "when": {"alert": ["alertname=\"QueueFull\""]},
        "mode": "automatic", "confirm_seconds": 3,
        "steps": [{"callback": {"url": hooks.url("/failover")}}]}]));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    let incident = opened(&node).await;
    let key = fires(&etcd.client, &labels(), chrono::Utc::now()).await;
    let (begun, _) = world.failover("it", |_| true).await;
    assert_eq!((begun.state, &begun.incident), (FailoverState::Deciding, &incident));
    etcd.client.delete(&key).await.unwrap();
    // The incident goes on, for reasons of its own.
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.state, FailoverState::CalledOff, "{journal:?}");
    assert!(hooks.waiting().is_none());
    let left = world.incident("it", |i| i.id == incident).await;
    assert_eq!(left.status, IncidentStatus::Triggered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_policies_ask_each_for_itself() {
    let (etcd, hooks) = (Etcd::start().await, Hooks::start().await);
    let policy = |name: &str| {
        json!({"name": name, "when": {"alert": ["alertname=\"QueueFull\""]}, "mode": "approve",
               "steps": [{"callback": {"url": hooks.url("/failover")}}]})
    };
    let mut config = config(json!([policy("restart"), policy("move")]));
    config["receivers"] = json!([{"name": "ops", "webhook": hooks.url("/ops")}]);
    config["pages"] = json!({"receivers": ["ops"]});
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    opened(&node).await;
    fires(&etcd.client, &labels(), chrono::Utc::now()).await;
    let asked = until("two questions", async || {
        let all: Vec<Failover> = world.all(keys::FAILOVERS).await;
        let asked = all.iter().filter(|f| f.state == FailoverState::AwaitingApproval).count();
        (asked == 2).then_some(all)
    })
    .await;
    let incidents: Vec<Incident> = world.all(keys::INCIDENTS).await;
    for failover in asked {
        let incident = incidents.iter().find(|i| i.id == failover.incident).unwrap();
        assert_eq!(incident.failover.as_ref(), Some(&failover.id), "its links mean this one");
        let asks = incident.pages.iter().any(|page| page.id.starts_with("failover-approval."));
        assert!(asks, "{incident:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_panic_is_not_acted_on() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "queue", "when": {"alert": ["alertname=\"QueueFull\""]},
        "callback": {"url": hooks.url("/failover")}}]));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let panic = json!({"service": "queue", "since": chrono::Utc::now(), "critical": 3, "instances": 5,
        "threshold_percent": 40, "incident": "why"});
    etcd.client.put_json(&keys::panic("queue"), &panic, 0).await.unwrap();
    fires(&etcd.client, &labels(), chrono::Utc::now()).await;
    let world = World(&etcd.client);
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.outcome, "held by belief: queue is in panic: incident why", "{journal:?}");
    assert!(hooks.waiting().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_none_is_not_acted_on() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "queue", "when": {"alert": ["alertname=\"QueueFull\""]},
        "callback": {"url": hooks.url("/failover")}}]));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let mut strange = labels();
    strange["service"] = json!("queue/one\"} or vector(1) #");
    fires(&etcd.client, &strange, chrono::Utc::now()).await;
    tokio::time::sleep(LOOKED_AT).await;
    assert!(hooks.waiting().is_none());
    assert_eq!(World(&etcd.client).all::<Failover>(keys::FAILOVERS).await, []);
}

/// The share of failed probes of `shop`, as long as somebody knows it.
#[derive(Clone)]
struct Shares(Arc<Mutex<Option<f64>>>);

impl Shares {
    fn set(&self, share: Option<f64>) {
        *self.0.lock().unwrap() = share;
    }
}

impl Source for Shares {
    fn select<'a>(
        &'a self,
        _: &'a str,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn query<'a>(
        &'a self,
        expr: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        let share = *self.0.lock().unwrap();
        let share =
            share.filter(|_| expr.contains("count_over_time(probe_success{service=\"shop\"}"));
        Box::pin(async move {
            let silent =
                || SourceError::Unavailable { url: "x".to_owned(), message: expr.to_owned() };
            let value = RowValue::Float(share.ok_or_else(silent)?);
            let row = VectorRow { labels: [].into(), timestamp_ms: at_ms, value };
            Ok(QueryAnswer { data: QueryData::Vector(vec![row]), warnings: vec![], infos: vec![] })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_burns_acts_once_and_is_not_over_while_nobody_knows() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!([{"name": "shop", "mode": "automatic",
        "when": {"service": "shop", "burn_rate": {"above": 14.4, "objective": 0.999}},
        "steps": [{"callback": {"url": hooks.url("/failover")}}]}]));
    let shares = Shares(Arc::new(Mutex::new(Some(0.5))));
    let start =
        |id: &str| Node::start_with(id, config.clone(), &etcd.client, Arc::new(shares.clone()));
    let a = start("a");
    a.leads().await;
    let b = start("b");
    let world = World(&etcd.client);
    let call = hooks.next().await;
    let body = call.json();
    assert_eq!((&body["service"], &body["instance"]), (&json!("shop"), &json!("")), "{body}");
    assert_eq!(body["reason"], "burn rate 500.0 over 1h, above 14.4");
    call.answer(200);
    world.failover("its end", |f| f.state == FailoverState::Delivered).await;

    // The next leader hears nothing of it: that does not mean that it is over.
    shares.set(None);
    a.kill().await;
    b.leads().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let open: Vec<Incident> = world.all(keys::INCIDENTS).await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].status, IncidentStatus::Triggered, "{open:?}");
    shares.set(Some(0.0));
    world.incident("its end", |i| i.status == IncidentStatus::Resolved).await;
    assert_eq!(world.all::<Failover>(keys::FAILOVERS).await.len(), 1);
    assert!(hooks.waiting().is_none());
}
