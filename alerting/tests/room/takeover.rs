//! The leader dies between the decision and the callback's answer, over a real etcd.

use serde_json::{Value, json};
use watchkeep_catalog::{Failover, FailoverState, Incident, Member, PageState, Status, keys};

use crate::support::{Node, World, etcd::Etcd, hooks::Hooks, until};

fn config(hooks: &Hooks) -> Value {
    json!({
        "lease_ttl_seconds": 2,
        "receivers": [{"name": "ops", "webhook": hooks.url("/ops")}],
        "pages": {"receivers": ["ops"]},
        "failover": [{
            "name": "db", "when": {"service": "db"},
            "callback": {"url": hooks.url("/failover"), "timeout_ms": 60_000},
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_finishes_with_the_same_key_and_token() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let world = World(&etcd.client);
    let a = Node::start("a", config(&hooks), &etcd.client);
    let term = a.leads().await;
    let b = Node::start("b", config(&hooks), &etcd.client);
    world.register("db", "one", "primary").await;
    world.opine("db", "one", "c1", Status::Critical).await;

    // Both requests arrived, and neither is answered.
    let mut before = [hooks.next().await, hooks.next().await];
    before.sort_by(|a, b| a.path.cmp(&b.path));
    a.kill().await;
    let (journal, kv) = world.failover("a failover", |_| true).await;
    assert_eq!((journal.state, journal.attempts.len()), (FailoverState::Pending, 0));

    assert!(b.leads().await > term);
    let mut after = [hooks.next().await, hooks.next().await];
    after.sort_by(|a, b| a.path.cmp(&b.path));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.path, after.path);
        assert_eq!(before.header("idempotency-key"), after.header("idempotency-key"));
    }
    // A page links to the node that sends it; the callback is the same to the byte.
    assert_eq!((before[0].path.as_str(), &before[0].body), ("/failover", &after[0].body));
    let token =
        |hook: &crate::support::hooks::Hook| hook.header("watchkeep-fencing-token").to_owned();
    assert_eq!(token(&before[0]), token(&after[0]));
    assert_eq!(token(&after[0]), kv.create_revision.to_string());
    for hook in after {
        hook.answer(200);
    }
    let (done, _) = world.failover("delivery", |f| f.state == FailoverState::Delivered).await;
    assert_eq!(done.id, journal.id);
    let paged = |i: &Incident| i.pages.iter().all(|page| page.state == PageState::Delivered);
    world.incident("the page", paged).await;
    assert_eq!(world.all::<Failover>(keys::FAILOVERS).await.len(), 1);
    assert_eq!(world.all::<Incident>(keys::INCIDENTS).await.len(), 1);
    assert!(hooks.waiting().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_at_once() {
    let (etcd, hooks) = (Etcd::start().await, Hooks::start().await);
    let mut config = config(&hooks);
    // Longer than this test waits for anything: whoever waits for the lease to run out fails it.
    config["lease_ttl_seconds"] = json!(60);
    let a = Node::start("a", config.clone(), &etcd.client);
    a.leads().await;
    let b = Node::start("b", config, &etcd.client);
    let world = World(&etcd.client);
    let members = async |count: usize| {
        until("members", async || {
            let members: Vec<Member> = world.all(keys::ALERTING_MEMBERS).await;
            (members.len() == count).then_some(members)
        })
        .await
    };
    assert_eq!(members(2).await[1].url, "http://b.example.org:8480");
    a.stop().await;
    b.leads().await;
    assert_eq!(members(1).await[0].id, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_writes_nothing() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let world = World(&etcd.client);
    let node = Node::start("a", config(&hooks), &etcd.client);
    let term = node.leads().await;
    world.register("db", "one", "primary").await;
    world.opine("db", "one", "c1", Status::Critical).await;
    let before = [hooks.next().await, hooks.next().await];
    // Somebody else holds the office now.
    let other = json!({"id": "other", "url": "http://other", "started_at": "2026-01-05T09:00:00Z"});
    etcd.client.delete(keys::ALERTING_LEADER).await.unwrap();
    until("another leader", async || {
        etcd.client.put_json(keys::ALERTING_LEADER, &other, 0).await.unwrap();
        node.alerting.term().borrow().is_none().then_some(())
    })
    .await;
    for hook in before {
        hook.answer(200);
    }
    world.opine("db", "one", "c1", Status::Passing).await;
    world.register("db", "two", "primary").await;
    world.opine("db", "two", "c1", Status::Critical).await;
    // Its office free again, the node leads in a new term and finishes everything.
    let (journal, _) = world.failover("nothing new", |_| true).await;
    assert_eq!(journal.state, FailoverState::Pending);
    etcd.client.delete(keys::ALERTING_LEADER).await.unwrap();
    assert!(node.leads().await > term);
    let answering = tokio::spawn(async move {
        loop {
            hooks.next().await.answer(200);
        }
    });
    world.verdict("db", "one", Status::Passing).await;
    world.verdict("db", "two", Status::Critical).await;
    world
        .failover("the second failover", |f| {
            f.instance == "two" && f.state == FailoverState::Delivered
        })
        .await;
    answering.abort();
}
