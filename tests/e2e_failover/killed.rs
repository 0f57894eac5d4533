//! The leader's process is ended at every point of a failover, before and behind each step's effect. Another node goes on:
//! everything is done once, or handed to a person, never twice, and nothing is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use crate::common::{
    Cluster, Node, eventually, failover, failover::SOON, http, receiver::Receiver, wait::ensure,
};

/// Steps, in their order.
const STEPS: [&str; 9] =
    ["choose", "fence", "promote", "tell", "drain", "verify", "again", "page", "grow"];

fn steps(sink: &Receiver) -> Value {
    json!([
        {"choose": {"from_role": "standby", "zone": "same"}},
        {"name": "fence", "callback": {"url": sink.url("/fence")}},
        {"promote": {}},
        {"name": "tell", "callback": {"url": sink.url("/tell")}},
        {"drain": {}},
        {"verify": {"verdict": {}}},
        {"name": "again", "script": {"command": "ran.sh", "args": ["$SERVICE"], "idempotent": true}},
        {"page": {"text": "all is done"}},
        {"name": "grow", "scale": {"add": 2, "callback": {"url": sink.url("/grow")}}},
    ])
}

/// A script that writes down that it ran, and for what.
fn script(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let file = dir.join("ran.sh");
    let log = dir.join("ran.log");
    let text = format!("#!/bin/sh\necho \"$1 $WATCHKEEP_IDEMPOTENCY_KEY\" >> {}\n", log.display());
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// The first node whose process runs.
fn alive(cluster: &mut Cluster) -> usize {
    cluster.nodes.iter_mut().position(|node| !node.has_ended()).expect("a node lives")
}

/// Ends the leader at `point` while the failover of a new service is under way, waits until it is in `state`, and starts
/// what has ended. Gives the journal, and a node that has lived through it.
async fn killed_at(
    cluster: &mut Cluster,
    point: &str,
    service: &str,
    state: &str,
) -> (Value, usize) {
    cluster.ready().await;
    let (up, port) = failover::listener();
    failover::register(&cluster.nodes[0], service, port).await;
    cluster.nodes[0].verdict(service, &format!("{service}-1"), "passing", SOON).await;
    let faults = cluster.nodes[0].faults();
    fs::create_dir_all(&faults).expect("a folder");
    fs::write(faults.join(point), "").expect("a fault");
    drop(up);
    eventually(&format!("a node ends at {point}"), SOON, async || {
        ensure(!faults.join(point).exists(), || "none did".to_owned())
    })
    .await;
    let deadline = std::time::Instant::now() + SOON;
    while !cluster.nodes.iter_mut().any(Node::has_ended) {
        assert!(std::time::Instant::now() < deadline, "{point}: the process is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let survivor = alive(cluster);
    let journal = failover::of_service(&cluster.nodes[survivor], service, state).await;
    for node in &mut cluster.nodes {
        if node.has_ended() {
            node.kill();
            node.start();
        }
    }
    (journal, survivor)
}

/// What came to a path for one service, by idempotency key: bodies and fencing tokens.
fn calls(sink: &Receiver, path: &str, service: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in sink.at(path).iter().filter(|request| request.json()["service"] == service) {
        let key = request.header("idempotency-key").to_owned();
        let said = format!("{} {}", request.header("watchkeep-fencing-token"), request.json());
        calls.entry(key).or_default().insert(said);
    }
    calls
}

/// Everything that the steps do is done, once.
async fn done_once(node: &Node, sink: &Receiver, dir: &Path, point: &str, service: &str) {
    let url = node.url(&format!("/v1/failovers?service={service}"));
    let all = http::get(&url).await.expect("failovers");
    assert_eq!(all["failovers"].as_array().map(Vec::len), Some(1), "{point}: {all}");
    for path in ["/fence", "/tell", "/grow"] {
        let calls = calls(sink, path, service);
        assert_eq!(calls.len(), 1, "{point}: {path}: {calls:?}");
        assert!(calls.values().all(|said| said.len() == 1), "{point}: {path}: {calls:?}");
    }
    let grow = calls(sink, "/grow", service).into_values().next().expect("a call");
    assert!(grow.iter().all(|said| said.contains("\"wanted\":5")), "{point}: {grow:?}");
    let roles = failover::roles(node, service).await;
    let expected = [
        (format!("{service}-1"), "standby".to_owned(), false),
        (format!("{service}-2"), "primary".to_owned(), true),
        (format!("{service}-3"), "standby".to_owned(), true),
    ];
    assert_eq!(roles, expected, "{point}");
    let page = |request: &crate::common::receiver::Received| {
        let key = request.header("idempotency-key").to_owned();
        let of_service = request.json()["commonLabels"]["service"] == service;
        (of_service && key.contains("failover-step-page")).then_some(key)
    };
    let pages: BTreeSet<String> = eventually("the page of the step", SOON, async || {
        let pages: BTreeSet<_> = sink.at("/page").iter().filter_map(page).collect();
        ensure(!pages.is_empty(), || "none yet".to_owned())?;
        Ok(pages)
    })
    .await;
    assert_eq!(pages.len(), 1, "{point}: {pages:?}");
    let ran = fs::read_to_string(dir.join("ran.log")).unwrap_or_default();
    let ran: BTreeSet<&str> =
        ran.lines().filter(|line| line.starts_with(&format!("{service} "))).collect();
    assert_eq!(ran.len(), 1, "{point}: {ran:?}");
}

/// Three nodes with both policies, a folder of scripts, and who is called and paged.
struct Scene {
    dir: tempfile::TempDir,
    sink: Receiver,
    cluster: Cluster,
}

async fn scene() -> Scene {
    let (dir, sink) = (tempfile::TempDir::new().expect("a folder"), Receiver::start().await);
    script(dir.path());
    let alerting = json!({
        "lease_ttl_seconds": 2,
        "receivers": [{"name": "ops", "webhook": sink.url("/page")}],
        "pages": {"receivers": ["ops"]},
        "failover_scripts": {"dir": dir.path()},
        "failover": [
            {"name": "once", "when": {"role": "primary", "service": "handed-over"}, "mode": "automatic",
             "steps": [{"name": "only", "script": {"command": "ran.sh", "args": ["$SERVICE"]}}]},
            {"name": "all", "when": {"role": "primary"}, "mode": "automatic", "steps": steps(&sink)},
        ],
    });
    let cluster = Cluster::start(3, &[("alerting", alerting)]).await;
    Scene { dir, sink, cluster }
}

/// Every fault point, in the order in which a failover comes to them.
fn points() -> Vec<String> {
    let mut points = vec!["judged".to_owned(), "decided".to_owned()];
    for step in STEPS {
        points.extend([format!("{step}.begun"), format!("{step}.performed")]);
    }
    points.extend(["finish".to_owned(), "finished".to_owned()]);
    points
}

/// The leader is killed at each of these: the failover is done all the same, once.
async fn killed_at_each(points: &[String]) -> Scene {
    let mut scene = scene().await;
    let Scene { dir, sink, cluster } = &mut scene;
    for (number, point) in points.iter().enumerate() {
        let service = format!("s{number}");
        let begun = std::time::Instant::now();
        let (journal, survivor) = killed_at(cluster, point, &service, "delivered").await;
        eprintln!("{point}: {} ms", begun.elapsed().as_millis());
        let states: Vec<_> =
            journal["steps"].as_array().expect("steps").iter().map(|s| &s["state"]).collect();
        assert!(states.iter().all(|state| **state == "done"), "{point}: {journal}");
        done_once(&cluster.nodes[survivor], sink, dir.path(), point, &service).await;
    }
    scene
}

/// Two halves, which run at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_at_every_step_of_the_first_half() {
    let points = points();
    killed_at_each(&points[..points.len() / 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_at_every_step_of_the_second_half() {
    let points = points();
    let Scene { dir, sink, mut cluster } = killed_at_each(&points[points.len() / 2..]).await;
    // Nobody can know whether this one ran: a person is told.
    let (journal, _) = killed_at(&mut cluster, "only.performed", "handed-over", "failed").await;
    let outcome = journal["outcome"].as_str().expect("an outcome");
    assert!(outcome.contains("nobody knows whether"), "{outcome}");
    eventually("somebody is told", SOON, async || {
        let pages = sink.at("/page");
        let told = |page: &crate::common::receiver::Received| {
            page.json().to_string().contains("failover failed, act by hand: handed-over")
        };
        ensure(pages.iter().any(told), || format!("{} pages", pages.len()))
    })
    .await;
    let ran = fs::read_to_string(dir.path().join("ran.log")).unwrap_or_default();
    assert_eq!(ran.lines().filter(|line| line.starts_with("handed-over ")).count(), 1, "{ran}");
}
