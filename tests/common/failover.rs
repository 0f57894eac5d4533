//! What tests of failovers share: services that can fail, and the journal as the API shows it.

use std::{net::TcpListener, process::Command, time::Duration};

use serde_json::{Value, json};

use super::{Node, cluster::WATCHKEEP, eventually, http, ports, wait::ensure};

/// Longest wait for anything of a failover.
pub const SOON: Duration = Duration::from_secs(40);

/// Three instances: `{service}-1` in zone a, the primary, probed at `port`; `-2` in zone a and `-3` in zone b, which pass.
pub async fn register(node: &Node, service: &str, port: u16) {
    let probed = json!([{"name": "tcp", "interval_ms": 300, "timeout_ms": 1500, "tcp": {}}]);
    for (number, zone, role, checks) in [
        (1, "a", "primary", probed),
        (2, "a", "standby", json!([])),
        (3, "b", "standby", json!([])),
    ] {
        let instance = json!({"id": format!("{service}-{number}"), "address": "127.0.0.1", "port": port,
            "zone": zone, "role": role, "tags": ["blue"], "checks": checks});
        node.register(service, &instance).await;
    }
}

/// A port on which nobody listens.
pub fn dead_port() -> u16 {
    ports::free()
}

/// A port on which somebody listens, until it is dropped.
pub fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Waits for a failover of a service, rehearsals apart, in this state.
pub async fn of_service(node: &Node, service: &str, state: &str) -> Value {
    let url = node.url(&format!("/v1/failovers?service={service}"));
    eventually(&format!("{service}: {state}"), SOON, async || {
        let answer = http::get(&url).await?;
        let all = answer["failovers"].as_array().cloned().unwrap_or_default();
        let mut real = all.into_iter().filter(|known| known["rehearsal"] != true);
        let found = real.find(|known| known["state"] == state);
        found.ok_or_else(|| answer.to_string())
    })
    .await
}

/// Begins a rehearsal and waits for its end.
pub async fn rehearse(node: &Node, policy: &str, service: &str, instance: &str) -> Value {
    let body = json!({"policy": policy, "service": service, "instance": instance, "by": "alice"});
    let begun = http::post(&node.url("/v1/failovers/rehearsals"), &body).await.expect("begun");
    let id = begun["id"].as_str().expect("an id");
    let url = node.url(&format!("/v1/failovers/{id}"));
    eventually(&format!("the end of {id}"), SOON, async || {
        let known = http::get(&url).await?;
        ensure(known["finished_at"].is_string(), || known.to_string())?;
        Ok(known)
    })
    .await
}

/// Runs `watchkeep failover …` against a node; what it prints.
pub fn command(node: &Node, args: &[&str]) -> String {
    let mut command = Command::new(WATCHKEEP);
    command.arg("failover").args(args).args(["--http", &node.url("")]).env("USER", "alice");
    let output = command.output().expect("watchkeep");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The instances of a service by id: role, and whether `healthy=true` finds it.
pub async fn roles(node: &Node, service: &str) -> Vec<(String, String, bool)> {
    let list = async |query: &str| {
        let url = node.url(&format!("/v1/services/{service}/instances{query}"));
        let answer = http::get(&url).await.expect("instances");
        answer["instances"].as_array().cloned().unwrap_or_default()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let healthy: Vec<String> = list("?healthy=true").await.iter().map(|i| text(&i["id"])).collect();
    let all = list("").await;
    all.iter()
        .map(|i| {
            let id = text(&i["id"]);
            (id.clone(), text(&i["role"]), healthy.contains(&id))
        })
        .collect()
}
