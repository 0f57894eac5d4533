//! Receivers that hang, refuse, come back or want another password: nothing is lost, nobody else waits, and order is kept.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};
use watchkeep_catalog::{Incident, Page, PageState};

use crate::support::{
    Node, World,
    etcd::Etcd,
    hooks::Hooks,
    smtp::{Manner, Mode, Sink},
};

/// An attempt is given up after ten seconds: whatever comes sooner has not waited for one that hangs.
const BEFORE_ANY_TIMEOUT: Duration = Duration::from_secs(9);

struct Scene {
    etcd: Etcd,
    hooks: Hooks,
    sink: Sink,
}

impl Scene {
    async fn new() -> Self {
        let (etcd, hooks, sink) =
            (Etcd::start().await, Hooks::start().await, Sink::start(Mode::None).await);
        Self { etcd, hooks, sink }
    }

    /// A node with people and receivers, leading.
    async fn node(&self, people: Value, receivers: Value, pages: Value) -> Node {
        let mut config = json!({
            "lease_ttl_seconds": 2,
            "smtp": {"host": "127.0.0.1", "port": self.sink.address.port(), "from": "watch@example.org"},
            "people": people, "receivers": receivers, "pages": pages,
        });
        if config["pages"]["schedule"].is_string() {
            config["schedules"] = json!([{"name": "primary", "handoff": "0 9 * * mon",
                                          "start": "2026-01-05", "rotation": ["alice"]}]);
        }
        let node = Node::start("a", config, &self.etcd.client);
        node.leads().await;
        node
    }

    /// Alice, who is called by mail, and ten minutes later by webhook.
    async fn alice(&self) -> Node {
        let people = json!([{
            "name": "alice", "email": "alice@example.org", "webhook": self.hooks.url("/alice"),
            "notify": {"urgent": [{"channel": "email"}, {"channel": "webhook", "after_seconds": 600}]},
        }]);
        self.node(people, json!([]), json!({"schedule": "primary"})).await
    }

    fn world(&self) -> World<'_> {
        World(&self.etcd.client)
    }

    /// Waits for an incident with a page by mail of which `so` holds.
    async fn mail(&self, what: &str, so: impl Fn(&Page) -> bool) -> Incident {
        let so = |page: &Page| page.channel == "email" && so(page);
        self.world().incident(what, |incident| incident.pages.iter().any(so)).await
    }
}

async fn report(node: &Node, number: usize) {
    let body = json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}"),
                      "severity": "critical"});
    let (status, answer) = node.post("/v1/incidents", body).await;
    assert!(status.is_success(), "{answer}");
}

/// Its mails are not behind the webhooks that hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_way_that_hangs_delays_no_other_to_the_same_person() {
    const INCIDENTS: usize = 20;
    let mut scene = Scene::new().await;
    let people = json!([{"name": "alice", "email": "alice@example.org",
                         "webhook": scene.hooks.url("/hangs")}]);
    let node = scene.node(people, json!([]), json!({"schedule": "primary"})).await;
    let begun = Instant::now();
    for number in 0..INCIDENTS {
        report(&node, number).await;
    }
    for _ in 0..INCIDENTS {
        scene.sink.next().await;
    }
    assert!(begun.elapsed() < BEFORE_ANY_TIMEOUT, "{:?}", begun.elapsed());
    let mut hanging = Vec::new();
    while let Some(hook) = scene.hooks.waiting() {
        hanging.push(hook);
    }
    assert!((1..INCIDENTS).contains(&hanging.len()), "{} at once", hanging.len());
}

/// So many mails hang that no page at all would go if mails and webhooks had one limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_hangs_delays_no_webhook() {
    const INCIDENTS: usize = 12;
    let mut scene = Scene::new().await;
    scene.sink.behave(Manner::Hangs);
    let mut receivers: Vec<Value> = (0..10)
        .map(|number| json!({"name": format!("m{number}"), "email": format!("m{number}@example.org")}))
        .collect();
    receivers.push(json!({"name": "ops", "webhook": scene.hooks.url("/ops")}));
    let names: Vec<Value> = receivers.iter().map(|receiver| receiver["name"].clone()).collect();
    let node = scene.node(json!([]), json!(receivers), json!({"receivers": names})).await;
    report(&node, 0).await;
    let (begun, mut taken) = (Instant::now(), 0);
    for number in 1..INCIDENTS {
        report(&node, number).await;
    }
    while taken < INCIDENTS {
        scene.hooks.next().await.answer(200);
        taken += 1;
    }
    assert!(begun.elapsed() < BEFORE_ANY_TIMEOUT, "{:?}", begun.elapsed());
    let connections = scene.sink.connections();
    assert!((64..=80).contains(&connections), "{connections} mails hang");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_is_asked_again_and_takes_them_in_order() {
    let mut scene = Scene::new().await;
    let node = scene.alice().await;
    scene.sink.behave(Manner::Refuses("451 4.7.1 come again later"));
    for number in 0..5 {
        report(&node, number).await;
    }
    let again = |page: &Page| page.attempts >= 3;
    let incident = scene.mail("it is tried again", again).await;
    let mail = incident.pages.iter().find(|page| page.channel == "email").unwrap();
    assert!(mail.error.as_ref().unwrap().contains("come again later"), "{mail:?}");
    let later = incident.pages.iter().find(|page| page.channel == "webhook").unwrap();
    assert!(
        later.not_before.is_some(),
        "the server is there: nobody is called sooner by other ways"
    );
    // The round that is under way, the oldest and one other, ends before: the next comes a second later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.sink.behave(Manner::Takes);
    // What is new overtakes nothing.
    report(&node, 5).await;
    let mut taken = Vec::new();
    for _ in 0..=5 {
        let subject = scene.sink.next().await.header("Subject");
        let number: u32 = subject.rsplit(' ').next().unwrap().parse().unwrap();
        taken.push(number);
    }
    assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    assert!(scene.hooks.waiting().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_for_good_is_reached_by_the_next_way_at_once() {
    let mut scene = Scene::new().await;
    let node = scene.alice().await;
    scene.sink.behave(Manner::Refuses("550 5.1.1 no such user"));
    report(&node, 0).await;
    scene.hooks.next_at("/alice").await.answer(200);
    let incident = scene.mail("it is given up", |page| page.state == PageState::Failed).await;
    let mail = incident.pages.iter().find(|page| page.channel == "email").unwrap();
    assert_eq!(mail.attempts, 1);
    assert!(mail.error.as_ref().unwrap().contains("no such user"), "{mail:?}");
    let said = |text: &str| incident.timeline.iter().any(|note| note.text.contains(text));
    assert!(said("email does not work: alice by webhook at once"), "{:?}", incident.timeline);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_mail_server_says_nothing_the_next_way_is_gone_and_the_mail_comes_later() {
    let mut scene = Scene::new().await;
    let node = scene.alice().await;
    scene.sink.behave(Manner::Hangs);
    report(&node, 0).await;
    scene.hooks.next_at("/alice").await.answer(200);
    let incident = scene.mail("it waits", |page| page.attempts > 0).await;
    let mail = incident.pages.iter().find(|page| page.channel == "email").unwrap();
    assert_eq!(mail.state, PageState::Pending);
    scene.sink.behave(Manner::Takes);
    assert!(scene.sink.next().await.header("Subject").ends_with("fault 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_takes_many_mails() {
    let mut scene = Scene::new().await;
    let node = scene.alice().await;
    for number in 0..5 {
        report(&node, number).await;
        scene.sink.next().await;
        let subject = format!("fault {number}");
        let sent = |i: &Incident| {
            let mut mails = i.pages.iter().filter(|page| page.channel == "email");
            i.title == subject && mails.all(|page| page.state == PageState::Delivered)
        };
        scene.world().incident("it is delivered", sent).await;
    }
    assert_eq!(scene.sink.connections(), 1);
}

/// The file is read again: nobody has to start Watchkeep anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_replaced_is_used() {
    let (etcd, mut sink) = (Etcd::start().await, Sink::start(Mode::Tls).await);
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    std::fs::write(&password, "first\n").unwrap();
    sink.behave(Manner::Asks("second"));
    let config = json!({
        "lease_ttl_seconds": 2,
        "smtp": {"host": "localhost", "port": sink.address.port(), "from": "watch@example.org", "tls": "tls",
                 "ca_file": sink.ca_file, "username": "watch", "password_file": password},
        "receivers": [{"name": "dba", "email": "dba@example.org"}],
        "pages": {"receivers": ["dba"]},
    });
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    report(&node, 0).await;
    let world = World(&etcd.client);
    let refused = |i: &Incident| {
        i.pages.iter().any(|page| page.error.as_ref().is_some_and(|e| e.contains("(535)")))
    };
    world.incident("the old one is refused", refused).await;
    std::fs::write(&password, "second\n").unwrap();
    sink.next().await;
    // While there is none, mails wait and say why.
    std::fs::remove_file(&password).unwrap();
    report(&node, 1).await;
    let missing = |i: &Incident| {
        i.pages.iter().any(|page| page.error.as_ref().is_some_and(|e| e.contains("cannot read")))
    };
    world.incident("the file is missing", missing).await;
    std::fs::write(&password, "second\n").unwrap();
    sink.next().await;
    let (status, _) = node.get("/v1/incidents").await;
    assert_eq!(status, StatusCode::OK);
}
