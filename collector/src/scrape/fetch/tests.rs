//! Secrets and certificates that are replaced while pages are fetched, and addresses that must not be.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use axum::{Router, extract::Request, routing::any};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    probe::tls::tests::{Authority, server},
    scrape::config::ScrapeConfig,
};

const LONG: Duration = Duration::from_secs(10);

/// A job with these settings.
fn job(policy: Policy, mut settings: Value) -> Job {
    settings["job_name"] = json!("j");
    let config: ScrapeConfig = serde_json::from_value(settings).expect("a job");
    Job::new(&config, &Arc::new(policy)).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// Notes who asks; answers with its port.
async fn door(heard: Arc<Mutex<Vec<String>>>) -> u16 {
    let router = Router::new().fallback(any(move |request: Request| async move {
        let who = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(who.unwrap_or("nobody").to_owned());
        "up_to_date 1\n"
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[tokio::test]
async fn a_replaced_secret_is_sent_with_the_next_request() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let port = door(heard.clone()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("secret");
    let url = format!("http://127.0.0.1:{port}/metrics");
    for (settings, expected) in [
        (
            json!({"authorization": {"credentials_file": file}}),
            ["Bearer one", "Bearer two", "Bearer two"],
        ),
        (
            json!({"basic_auth": {"username": "u", "password_file": file}}),
            // base64 of u:one and u:two
            ["Basic dTpvbmU=", "Basic dTp0d28=", "Basic dTp0d28="],
        ),
    ] {
        fs::write(&file, "one\n").expect("written");
        let job = job(Policy::default(), settings);
        job.fetcher.fetch(&url, LONG).await.expect("a page");
        fs::write(&file, "two\n").expect("written");
        job.fetcher.fetch(&url, LONG).await.expect("a page");
        fs::remove_file(&file).expect("removed");
        job.fetcher.fetch(&url, LONG).await.expect("a page");
        let heard = std::mem::take(&mut *heard.lock().expect("a list"));
        assert_eq!(heard, expected);
    }
}

/// Writes a file so that its time tells of it, also where times are coarse.
fn replace(path: &Path, text: &str, seconds: u64) {
    fs::write(path, text).expect("written");
    let file = fs::File::options().write(true).open(path).expect("the file");
    file.set_modified(SystemTime::now() + Duration::from_secs(seconds)).expect("a time");
}

#[tokio::test]
async fn replaced_certificates_are_taken_up() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (mine, other) = (ours.issue("client.example", 90), theirs.issue("client.example", 90));
    let issued = ours.issue("localhost", 90);
    let port = server(&issued, &[&TLS12, &TLS13], &[], Some(&ours)).await;
    let dir = tempfile::tempdir().expect("a folder");
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
    replace(&ca, &fs::read_to_string(theirs.file()).expect("PEM"), 0);
    replace(&cert, &other.pem, 0);
    replace(&key, &other.key_pem, 0);
    let settings = json!({"tls_config": {"ca_file": ca, "cert_file": cert, "key_file": key}});
    let job = job(Policy::default(), settings);
    let url = format!("https://localhost:{port}/metrics");
    let fetch = async || job.fetcher.fetch(&url, LONG).await.map(drop);

    let said = fetch().await.expect_err("an unknown authority");
    assert!(said.contains("UnknownIssuer"), "{said}");
    replace(&ca, &fs::read_to_string(ours.file()).expect("PEM"), 5);
    let said = fetch().await.expect_err("we are unknown");
    assert!(!said.contains("UnknownIssuer"), "{said}");
    // Half of the pair is of no use yet.
    replace(&cert, &mine.pem, 10);
    fetch().await.expect_err("a certificate without its key");
    replace(&key, &mine.key_pem, 15);
    fetch().await.expect("a page");
    replace(&key, "half a ke", 20);
    fetch().await.expect("the former pair holds");
}

#[tokio::test]
async fn what_is_denied_is_not_fetched() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let port = door(heard.clone()).await;
    let deny = ["127.0.0.0/8".to_owned(), "::1".to_owned()];
    let job = job(Policy::new(&[], &deny).expect("ranges"), json!({}));
    // By an address in any notation, and by a name that resolves to one.
    for host in ["127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{host}:{port}/metrics");
        let said = job.fetcher.fetch(&url, LONG).await.expect_err(host);
        assert!(said.contains("must not be probed: collector.targets.deny has "), "{host}: {said}");
    }
    assert!(heard.lock().expect("a list").is_empty(), "nobody was asked");
    let metadata = job.fetcher.fetch("http://169.254.169.254/latest", LONG).await;
    assert!(metadata.expect_err("denied").contains("is link-local or metadata"));
}
