//! A failover that waits for a person: the link in the mail, over a real etcd.

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use serde_json::json;
use tower::ServiceExt;
use watchkeep_catalog::{FailoverState, Status};

use crate::support::{
    Node, World,
    etcd::Etcd,
    hooks::Hooks,
    log::Log,
    smtp::{Mode, Sink},
};

/// A mail's text, whatever its encoding: quoted-printable is all that is used.
fn decoded(data: &str) -> String {
    data.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=")
}

async fn raw(node: &Node, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let answer = node.alerting.router().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_in_the_mail_confirms_it_once() {
    let (etcd, mut hooks) = (Etcd::start().await, Hooks::start().await);
    let mut sink = Sink::start(Mode::None).await;
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "a-secret").unwrap();
    let config = json!({
        "lease_ttl_seconds": 2,
        "smtp": {"host": "127.0.0.1", "port": sink.address.port(), "from": "Watch <watch@example.org>"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary", "link_secret_file": secret},
        "failover": [{"name": "db", "when": {"service": "db"}, "mode": "approve",
                      "steps": [{"callback": {"url": hooks.url("/failover")}}]}],
    });
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.register("db", "one", "primary").await;
    world.opine("db", "one", "c1", Status::Critical).await;
    let (asked, _) =
        world.failover("a question", |f| f.state == FailoverState::AwaitingApproval).await;
    let mut mail = decoded(&sink.next().await.data);
    while !mail.contains("confirm the failover: ") {
        mail = decoded(&sink.next().await.data);
    }
    let link = mail.lines().find_map(|line| line.strip_prefix("Confirm the failover: "));
    let path = link.unwrap().trim().strip_prefix("http://a.example.org:8480").unwrap();

    // A scanner follows the link: nothing happens.
    let (status, page) = raw(&node, Method::GET, path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Confirm the failover as alice"), "{page}");
    assert!(hooks.waiting().is_none());
    let (still, _) = world.failover("the question", |f| f.id == asked.id).await;
    assert_eq!(still.state, FailoverState::AwaitingApproval);

    let forged = path.replace("~approve~", "~abort~");
    assert_eq!(raw(&node, Method::POST, &forged).await.0, StatusCode::FORBIDDEN);
    let (status, page) = raw(&node, Method::POST, path).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    hooks.next().await.answer(200);
    let (done, _) = world.failover("its end", |f| f.state == FailoverState::Delivered).await;
    assert_eq!((done.id, done.approved_by.as_deref()), (asked.id.clone(), Some("alice")));
    let log = Log::start();
    assert_eq!(raw(&node, Method::POST, path).await.0, StatusCode::CONFLICT);
    let refused = log.with("a link was refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("by=\"alice\"") && refused[0].contains(&asked.id), "{refused:?}");
}
