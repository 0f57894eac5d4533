//! Checks of every kind through every door, and a service that reports itself while nodes die.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::common::{Cluster, Node, cluster::WATCHKEEP, eventually, http, ports, process::Process};

const SOON: Duration = Duration::from_secs(20);

/// Runs `watchkeep` against a node; what it printed.
fn watchkeep(node: &Node, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(WATCHKEEP);
    command.args(args).env("WATCHKEEP_HTTP", node.url(""));
    let output = command.output().expect("watchkeep runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A real DNS server that knows `web.example`.
async fn unbound(dir: &Path) -> (Process, u16) {
    let port = ports::free();
    let config = format!(
        "server:\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: {dir:?}\n \
         pidfile: \"{pid}\"\n use-syslog: no\n interface: 127.0.0.1@{port}\n \
         module-config: \"iterator\"\n local-zone: \"example.\" static\n \
         local-data: \"web.example. 300 IN A 10.0.0.1\"\n\
         remote-control:\n control-enable: no\n",
        pid = dir.join("unbound.pid").display()
    );
    let file = dir.join("unbound.conf");
    fs::write(&file, config).expect("written");
    let mut command = Command::new("/usr/sbin/unbound");
    command.arg("-d").arg("-c").arg(&file);
    let process = Process::spawn("unbound", command, &dir.join("unbound.log"));
    eventually("unbound", SOON, async || {
        std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
    })
    .await;
    (process, port)
}

/// Waits until this node's collector has this opinion on a check.
async fn opinion(node: &Node, instance: &str, check: &str, status: &str) -> Value {
    let key = format!("/watchkeep/opinions/web/{instance}/{check}/{}", node.name);
    eventually(&format!("{key} is {status}"), SOON, async || {
        let found = node.get(&key).await?.unwrap_or_default();
        crate::common::wait::ensure(found["status"] == status, || found.to_string())?;
        Ok(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_over_http_and_by_command() {
    let scripts = tempfile::TempDir::new().expect("a folder");
    let script = scripts.path().join("check_load");
    fs::write(&script, "#!/bin/sh\necho \"LOAD OK for $1|load=0.5\"\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permissions");
    let collector = json!({"scripts": {"dir": scripts.path()}});
    let cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &cluster.nodes[0];
    let (_dns, dns_port) = unbound(cluster.dir()).await;
    let grpc_port: u16 =
        node.client.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    let checks = [
        (json!({"tcp": {}}), "connected"),
        (json!({"grpc": {}}), "the server is SERVING"),
        (json!({"icmp": {}}), "127.0.0.1 echoed 9 bytes"),
        (
            json!({"dns": {"port": dns_port, "query_name": "web.example", "query_type": "A"}}),
            "NOERROR, 1 answers",
        ),
        (
            json!({"script": {"command": "check_load", "args": ["$ADDRESS$"]}}),
            "ok: LOAD OK for 127.0.0.1",
        ),
        (json!({"alias": {"service": "web"}}), "service web: 2 of 2 instances are well"),
    ];
    let named = |(check, _): &(Value, &str)| {
        let mut check = check.clone();
        let kind = check.as_object().and_then(|c| c.keys().next().cloned()).expect("a kind");
        (check["name"], check["interval_ms"]) = (json!(kind), json!(200));
        check
    };
    let all: Vec<Value> = checks.iter().map(named).collect();
    let instance =
        json!({"id": "by-http", "address": "127.0.0.1", "port": grpc_port, "checks": all});
    node.register("web", &instance).await;
    let port = grpc_port.to_string();
    let texts: Vec<String> = all.iter().map(Value::to_string).collect();
    let mut args = vec!["service", "register", "--service", "web", "--id", "by-command"];
    args.extend(["--address", "127.0.0.1", "--port", &port]);
    args.extend(texts.iter().flat_map(|check| ["--check", check]));
    assert_eq!(watchkeep(node, &args).as_deref(), Ok("web/by-command registered"));
    for id in ["by-http", "by-command"] {
        for ((_, reason), check) in checks.iter().zip(&all) {
            let kind = check["name"].as_str().expect("a name");
            let found = opinion(node, id, kind, "passing").await;
            // Whoever looks at once may see one instance only.
            if kind != "alias" {
                assert_eq!(found["reason"], *reason);
            }
        }
        node.verdict("web", id, "passing", SOON).await;
    }

    for (check, part) in [
        (json!({"name": "c", "dns": {"query_name": "a", "query_type": "X"}}), "dns.query_type"),
        (json!({"name": "c", "tcp": {"query_response": [{"expect": "("}]}}), "step 1: expect"),
        (json!({"name": "c", "script": {"command": "../sh"}}), "script.command"),
        (json!({"name": "c", "ttl": {"ttl_ms": 1}}), "ttl.ttl_ms"),
        (json!({"name": "c", "tcp": {}, "icmp": {}}), "exactly one"),
    ] {
        let bad = json!({"id": "x", "address": "h", "port": 1, "checks": [check]});
        let url = node.url("/v1/services/web/instances");
        let error = http::post(&url, &bad).await.expect_err(part);
        assert!(
            error.starts_with("POST") && error.contains("400") && error.contains(part),
            "{error}"
        );
        let check = check.to_string();
        let args = ["service", "register", "--service", "web", "--id", "x", "--address", "h"];
        let args = [&args[..], &["--port", "1", "--check", &check]].concat();
        let error = watchkeep(node, &args).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reports_itself() {
    let mut cluster = Cluster::start(3, &[]).await;
    let check = json!({"name": "alive", "interval_ms": 100, "fall": 1, "ttl": {"ttl_ms": 4_000}});
    let instance = json!({"id": "w1", "address": "h", "port": 1, "checks": [check]});
    cluster.nodes[0].register("web", &instance).await;
    let path = "/v1/services/web/instances/w1/checks/alive";
    let report = async |node: &Node, said: Value| http::post(&node.url(path), &said).await;

    // Silence from the start is silence.
    let silent = cluster.nodes[1].verdict("web", "w1", "critical", SOON).await;
    assert_eq!(silent["reason"], "alive: it has not reported for 4000 ms");
    let taken = report(&cluster.nodes[0], json!({"status": "passing"})).await;
    assert_eq!(taken, Ok(json!({"ttl_ms": 4000})));
    cluster.nodes[1].verdict("web", "w1", "passing", SOON).await;
    // The node that took the report dies, and nothing of it is forgotten.
    cluster.nodes[0].kill();
    let key = "/watchkeep/reports/web/w1/alive";
    let kept = eventually("the report", SOON, async || cluster.nodes[1].get(key).await).await;
    assert_eq!(kept.map(|r| r["status"].clone()), Some(json!("passing")));
    let again = eventually("a report through another node", SOON, async || {
        report(&cluster.nodes[1], json!({"status": "passing"})).await
    });
    again.await;

    let args = ["service", "report", "--service", "web", "--id", "w1", "--check", "alive"];
    let critical = [&args[..], &["--status", "critical", "--output", "disk is full"]].concat();
    let said = watchkeep(&cluster.nodes[2], &critical);
    assert_eq!(said.as_deref(), Ok("web/w1/alive is critical for 4000 ms"));
    let verdict = cluster.nodes[1].verdict("web", "w1", "critical", SOON).await;
    assert_eq!(verdict["reason"], "alive: critical: disk is full");
    let endpoints = format!("http://{}", cluster.nodes[2].client);
    let warning = [&args[..], &["--status", "warning", "--endpoints", &endpoints]].concat();
    let said = watchkeep(&cluster.nodes[2], &warning);
    assert_eq!(said.as_deref(), Ok("web/w1/alive is warning for 4000 ms"));
    cluster.nodes[1].verdict("web", "w1", "passing", SOON).await;
    // Then it falls silent.
    let silent = cluster.nodes[1].verdict("web", "w1", "critical", SOON).await;
    assert_eq!(silent["reason"], "alive: it has not reported for 4000 ms");

    for (path, said, part) in [
        ("web/instances/w1/checks/none", json!({"status": "passing"}), "it has alive"),
        ("web/instances/w2/checks/alive", json!({"status": "passing"}), "register it first"),
        ("web/instances/w1/checks/alive", json!({"status": "fine"}), "fine"),
    ] {
        let url = cluster.nodes[1].url(&format!("/v1/services/{path}"));
        let error = http::post(&url, &said).await.expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}
