//! Pages by mail over each kind of connection, with and without a password.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use watchkeep_catalog::{Incident, PageState, Status};

use crate::support::{
    Node, World,
    etcd::Etcd,
    smtp::{Mode, Sink},
};

async fn one_mail(mode: Mode, trusted: bool) {
    let (etcd, mut sink) = (Etcd::start().await, Sink::start(mode).await);
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    std::fs::write(&password, "pass word\n").unwrap();
    let mut smtp = json!({
        "host": "localhost", "port": sink.address.port(), "from": "watch@example.org",
        "tls": format!("{mode:?}").to_lowercase(),
    });
    if mode != Mode::None {
        smtp["username"] = json!("watch");
        smtp["password_file"] = json!(password);
        if trusted {
            smtp["ca_file"] = json!(sink.ca_file);
        }
    }
    let config = json!({
        "lease_ttl_seconds": 2,
        "smtp": smtp,
        "receivers": [{"name": "dba", "email": "DBA <dba@example.org>"}],
        "pages": {"receivers": ["dba"]},
    });
    let node = Node::start("a", config, &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    world.register("web", "one", "").await;
    world.opine("web", "one", "c1", Status::Critical).await;
    if !trusted {
        let failed = |i: &Incident| i.pages.iter().any(|page| page.error.is_some());
        let incident = world.incident("a refusal", failed).await;
        let page = &incident.pages[0];
        assert_eq!(page.state, PageState::Pending);
        let error = page.error.as_ref().unwrap();
        let server = format!("mail server localhost:{}: ", sink.address.port());
        assert!(error.starts_with(&server) && error.ends_with("alerting.smtp.ca_file"), "{page:?}");
        return;
    }
    let mail = sink.next().await;
    assert_eq!(mail.encrypted, mode != Mode::None);
    assert_eq!(mail.to, "<dba@example.org>");
    let auth = (mode != Mode::None).then(|| STANDARD.encode("\0watch\0pass word"));
    assert_eq!(mail.auth, auth);
    assert!(mail.data.contains("multipart/alternative"));
    assert!(mail.data.contains("text/html"));
    let sent = |i: &Incident| i.pages.iter().all(|page| page.state == PageState::Delivered);
    let incident = world.incident("the outcome", sent).await;
    let id = format!("<{}.firing.dba.email@example.org>", incident.id);
    assert_eq!(mail.header("Message-ID"), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_clear() {
    one_mail(Mode::None, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_starttls() {
    one_mail(Mode::Starttls, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls() {
    one_mail(Mode::Tls, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    one_mail(Mode::Tls, false).await;
}
