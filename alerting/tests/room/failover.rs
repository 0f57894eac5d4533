//! What may come between the steps of a failover, over a real etcd: a stop, an end, another leader, the end of the fault,
//! registrations that run out.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use watchkeep_catalog::{Drain, FailoverState, Incident, Instance, Status, keys};

use crate::support::{Node, World, etcd::Etcd, hooks::Hooks};

fn config(failover: Value) -> Value {
    json!({"lease_ttl_seconds": 2, "failover": [failover]})
}

async fn stop(node: &Node) {
    let (status, said) =
        node.call(Method::PUT, "/v1/failover-stop", r#"{"by":"alice","reason":"enough"}"#).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

async fn resolve(node: &Node, incident: &str) {
    let path = format!("/v1/incidents/{incident}");
    let (status, said) = node.post(&path, json!({"action": "resolve", "by": "alice"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_holds_what_the_last_leader_had_begun() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!({"name": "db", "when": {"service": "db"},
        "callback": {"url": hooks.url("/failover"), "timeout_ms": 60_000}}));
    let a = Node::start("a", config.clone(), &etcd.client);
    a.leads().await;
    let b = Node::start("b", config, &etcd.client);
    let world = World(&etcd.client);
    world.fail("db", "one").await;
    let _begun = hooks.next().await;
    a.kill().await;
    stop(&b).await;
    b.leads().await;
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.state, FailoverState::Failed, "{journal:?}");
    assert!(journal.outcome.contains("stopped by alice"), "{journal:?}");
    assert!(hooks.waiting().is_none(), "it was called once more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_called_behind_a_stop_or_an_end() {
    for (stops, state) in [(true, FailoverState::Failed), (false, FailoverState::Aborted)] {
        let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
        let config = config(json!({"name": "db", "when": {"service": "db"}, "callback": {
            "url": hooks.url("/failover"), "attempts_max": 100, "backoff_ms": 2_000}}));
        let node = Node::start("a", config, &etcd.client);
        node.leads().await;
        let world = World(&etcd.client);
        world.fail("db", "one").await;
        hooks.next().await.answer(500);
        let (begun, _) = world.failover("its first attempt", |f| f.attempts.len() == 1).await;
        if stops {
            stop(&node).await;
        } else {
            let path = format!("/v1/failovers/{}/abort", begun.id);
            let (status, said) = node.post(&path, json!({"by": "alice"})).await;
            assert_eq!(status, StatusCode::OK, "{said}");
        }
        let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
        assert_eq!((journal.state, journal.attempts.len()), (state, 1), "{journal:?}");
        assert!(hooks.waiting().is_none(), "it was called once more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ended_once() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!({"name": "db", "when": {"service": "db"},
        "callback": {"url": hooks.url("/failover"), "timeout_ms": 60_000}}));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.fail("db", "one").await;
    let under_way = hooks.next().await;
    let (begun, _) = world.failover("it", |_| true).await;
    let path = format!("/v1/failovers/{}/abort", begun.id);
    let (first, _) = node.post(&path, json!({"by": "alice"})).await;
    let (second, said) = node.post(&path, json!({"by": "bob"})).await;
    assert_eq!((first, second), (StatusCode::OK, StatusCode::CONFLICT), "{said}");
    assert!(said["error"].as_str().unwrap().contains("alice has said so"), "{said}");
    under_way.answer(500);
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.state, FailoverState::Aborted, "{journal:?}");
    assert_eq!(journal.aborted_by.as_deref(), Some("alice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_done_is_finished_though_the_fault_be_over() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config =
        config(json!({"name": "db", "when": {"service": "db"}, "mode": "automatic", "steps": [
            {"name": "fence", "callback": {"url": hooks.url("/fence"), "timeout_ms": 60_000}},
            {"name": "move", "callback": {"url": hooks.url("/move")}},
        ]}));
    let a = Node::start("a", config.clone(), &etcd.client);
    a.leads().await;
    let b = Node::start("b", config, &etcd.client);
    let world = World(&etcd.client);
    world.fail("db", "one").await;
    // Its receiver has done it, for all that anybody knows.
    let fence = hooks.next().await;
    let (journal, _) = world.failover("it", |_| true).await;
    a.kill().await;
    resolve(&b, &journal.incident).await;
    b.leads().await;
    let again = hooks.next().await;
    assert_eq!((again.path.as_str(), &again.body), ("/fence", &fence.body));
    again.answer(200);
    hooks.next_at("/move").await.answer(200);
    world.failover("its end", |f| f.state == FailoverState::Delivered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_halfway_is_paged_though_the_fault_be_over() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let mut config = config(
        json!({"name": "db", "when": {"service": "db"}, "mode": "automatic", "steps": [
            {"name": "fence", "callback": {"url": hooks.url("/fence")}},
            {"name": "move", "callback": {"url": hooks.url("/move"), "timeout_ms": 20_000, "attempts_max": 1}},
        ]}),
    );
    config["receivers"] = json!([{"name": "ops", "webhook": hooks.url("/ops")}]);
    config["pages"] = json!({"receivers": ["ops"]});
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.fail("db", "one").await;
    hooks.next_at("/fence").await.answer(200);
    let late = hooks.next_at("/move").await;
    let (journal, _) = world.failover("it", |_| true).await;
    resolve(&node, &journal.incident).await;
    late.answer(500);
    loop {
        let page = hooks.next_at("/ops").await;
        let said = page.json()["commonAnnotations"]["summary"].as_str().unwrap().to_owned();
        page.answer(200);
        if said.starts_with("failover failed, act by hand") {
            break;
        }
    }
    world.failover("its end", |f| f.state == FailoverState::Failed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_leaves_what_a_person_has_drained() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let call = json!({"url": hooks.url("/move"), "attempts_max": 1});
    let config =
        config(json!({"name": "db", "when": {"service": "db"}, "mode": "automatic", "steps": [
            {"drain": {}}, {"undrain": {"instance": "two"}},
            {"callback": call, "on_failure": "roll_back"},
        ]}));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.register("db", "one", "primary").await;
    let by = json!({"by": "alice", "reason": "new disks"}).to_string();
    let (status, said) = node.call(Method::PUT, "/v1/drains/db/one", &by).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    world.opine("db", "one", "c1", Status::Critical).await;
    hooks.next().await.answer(500);
    world.failover("its end", |f| f.state == FailoverState::RolledBack).await;
    let drains: Vec<Drain> = world.all(keys::DRAINS).await;
    let left: Vec<_> = drains.iter().map(|d| (d.instance.as_str(), d.by.as_str())).collect();
    assert_eq!(left, [("one", "alice")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_died_was_in_a_zone_all_the_same() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config =
        config(json!({"name": "db", "when": {"service": "db"}, "mode": "automatic", "steps": [
            {"name": "fence", "callback": {"url": hooks.url("/fence")}},
            {"choose": {"zone": "other"}},
        ]}));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    for (id, zone, checks) in
        [("one", "a", json!([{"name": "tcp", "tcp": {}}])), ("two", "b", json!([]))]
    {
        let instance: Instance =
            serde_json::from_value(json!({"service": "db", "id": id, "zone": zone,
            "address": "127.0.0.1", "port": 5432, "checks": checks}))
            .unwrap();
        etcd.client.put_json(&keys::instance("db", id), &instance, 0).await.unwrap();
    }
    world.opine("db", "one", "c1", Status::Critical).await;
    let fence = hooks.next().await;
    // Its host is gone: nobody renews its registration.
    etcd.client.delete(&keys::instance("db", "one")).await.unwrap();
    fence.answer(200);
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.candidate.as_deref(), Some("two"), "{journal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_for_who_is_registered_no_more_holds() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let config = config(json!({"name": "db", "when": {"service": "db"}, "mode": "approve",
        "steps": [{"callback": {"url": hooks.url("/failover")}}]}));
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.fail("db", "one").await;
    let asks = |f: &watchkeep_catalog::Failover| f.state == FailoverState::AwaitingApproval;
    let (asked, _) = world.failover("a question", asks).await;
    etcd.client.delete(&keys::instance("db", "one")).await.unwrap();
    let gone = |i: &Incident| i.timeline.last().unwrap().text.starts_with("deregistered");
    world.incident("its note", gone).await;
    let window = json!({"scope": {"service": "db", "instance": "one"}, "duration_seconds": 600,
        "author": "bob"});
    let (status, said) = node.post("/v1/maintenance", window).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let path = format!("/v1/failovers/{}/approve", asked.id);
    let (status, said) = node.post(&path, json!({"by": "alice"})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (journal, _) = world.failover("its end", |f| f.state.is_over()).await;
    assert_eq!(journal.state, FailoverState::Held, "{journal:?}");
    assert!(journal.outcome.starts_with("held by maintenance"), "{journal:?}");
    assert!(hooks.waiting().is_none());
}
