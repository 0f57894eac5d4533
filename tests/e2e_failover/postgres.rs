//! PostgreSQL for real: under pgbench the primary is killed, Watchkeep's callback promotes the standby, writes come back,
//! and nothing that was acknowledged is lost. The old primary that comes back with its old token is refused, and one that
//! is started all the same is stopped: never two that take writes.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{
    Cluster, eventually,
    fenced::{Pair, SECRET},
    http,
    process::Process,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);
const INTERVAL_MS: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_replaced_once_and_does_not_come_back() {
    let mut pair = Pair::start().await;
    let cluster = Cluster::start(3, &pair.sections()).await;
    pair.watch(&cluster, INTERVAL_MS).await;
    assert!(pair.claim("pg-1.token").0, "before any failover the first primary may be one");

    let moments = pair.fail_over(&cluster).await;
    eprintln!("{moments:#?}");
    assert!(moments.killed < moments.verdict && moments.verdict < moments.callback, "{moments:?}");
    assert!(moments.callback < moments.written, "{moments:?}");
    assert_eq!(pair.standby.sql("SELECT pg_is_in_recovery()").as_deref(), Ok("f"));
    recorded(&pair, &cluster).await;

    let acknowledged = pair.pgbench.take().expect("it writes").end();
    let kept = pair.standby.sql("SELECT count(*) FROM pgbench_history").expect("the new primary");
    let kept: usize = kept.parse().expect("a number");
    assert!(acknowledged > 20 && kept >= acknowledged, "{acknowledged} acknowledged, {kept} kept");

    a_late_callback_is_refused(&pair).await;
    the_old_primary_is_refused(&mut pair).await;
}

/// Watchkeep knows that it is done, and the receiver has the token that the record has.
async fn recorded(pair: &Pair, cluster: &Cluster) {
    let failover = eventually("the outcome is recorded", SOON, async || {
        let failover = pair.failover(cluster).await;
        ensure(failover["state"] == "delivered", || failover.to_string())?;
        Ok(failover)
    })
    .await;
    assert_eq!(failover["instance"], "pg-1", "{failover}");
    let id = failover["id"].as_str().expect("an id");
    let key = crate::common::cluster::encode(&format!("/watchkeep/failovers/{id}"));
    let kvs = cluster.nodes[0].v3("kv/range", &json!({"key": key})).await.expect("the record");
    let token = pair.state()["token"].to_string();
    assert_eq!(kvs["kvs"][0]["create_revision"], json!(token), "{kvs}");
    let held = std::fs::read_to_string(pair.dir().join("pg-2.token")).expect("the token file");
    assert_eq!(held.trim(), token, "the new primary knows under which token it is one");
}

/// The receiver's own door: who has not signed, and whose token is an old one.
async fn a_late_callback_is_refused(pair: &Pair) {
    let token = pair.state()["token"].as_i64().expect("a token");
    for (secret, token, expected) in [
        ("another secret", token + 1, StatusCode::UNAUTHORIZED),
        (SECRET, token - 1, StatusCode::CONFLICT),
        (SECRET, token, StatusCode::OK),
    ] {
        let (status, said) = call(pair, secret, token).await;
        assert_eq!(status, expected, "token {token}: {said}");
    }
    let done = pair.state();
    assert_eq!(done["token"], token, "none of them changed anything");
    // Killed before it could say that it was done: it does it again, which does no harm.
    let mut torn = done.clone();
    torn["done"] = json!(false);
    std::fs::write(pair.dir().join("fence/db.json"), torn.to_string()).expect("written");
    let (status, said) = call(pair, SECRET, token).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert!(pair.state()["done"] == true && said.contains("done"), "{said}: {}", pair.state());
}

async fn call(pair: &Pair, secret: &str, token: i64) -> (StatusCode, String) {
    let body = json!({"service": "db", "instance": "pg-1", "fencing_token": token}).to_string();
    let stamp = chrono::Utc::now().timestamp();
    let signature =
        crate::common::signature::sign(secret.as_bytes(), "a-call", stamp, body.as_bytes());
    let request = http::client().post(format!("{}/failover", pair.url));
    let request = request.header("webhook-id", "a-call").header("webhook-timestamp", stamp);
    http::send(request.header("webhook-signature", signature).body(body)).await.expect("an answer")
}

/// It asks before it starts; and if nobody lets it ask, the guard beside it stops it.
async fn the_old_primary_is_refused(pair: &mut Pair) {
    let (granted, said) = pair.claim("pg-1.token");
    assert!(!granted && said.contains("out of date"), "{said}");
    let (granted, said) = pair.claim("pg-2.token");
    assert!(granted, "the new primary may start again: {said}");

    pair.primary.start().await;
    let mut guard = pair.fence("guard", &pair.dir().join("pg-1.token"));
    guard.args(["--every", "0.2", "--"]).arg(format!("{}/pg_ctl", crate::common::postgres::BIN));
    guard.args(["stop", "--mode=immediate", "--no-wait", "--pgdata"]).arg(&pair.primary.data);
    let mut guard = Process::spawn("guard", guard, &pair.dir().join("guard.log"));
    pair.primary.process().wait(SOON);
    assert_eq!(guard.wait(SOON).code(), Some(1), "{}", guard.output());
    assert_eq!(pair.standby.sql("SELECT pg_is_in_recovery()").as_deref(), Ok("f"));
    let state: Value = pair.state();
    assert_eq!(state["instance"], "pg-1", "the only failover there was: {state}");
}
