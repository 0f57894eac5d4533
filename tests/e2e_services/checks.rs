//! Checks of every kind through every door, and a service that reports itself while nodes die.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::common::{
    Cluster, Node,
    cluster::WATCHKEEP,
    eventually, http,
    pki::{Authority, Pair},
    ports,
    process::Process,
};

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

/// Accepts every WebSocket, and says nothing on it.
fn websocket(dir: &Path) -> (Process, u16) {
    const SERVER: &str = r#"
import base64, hashlib, socketserver, sys
class Shake(socketserver.StreamRequestHandler):
    def handle(self):
        key = b""
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                key = value.strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: " + accept + b"\r\n\r\n")
        self.rfile.read()
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Shake).serve_forever()
"#;
    let port = ports::free();
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, &port.to_string()]);
    (Process::spawn("websocket", command, &dir.join("websocket.log")), port)
}

/// A server of TLS.
fn openssl(dir: &Path, pair: &Pair) -> (Process, u16) {
    let port = ports::free();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(&pair.cert).arg("-key").arg(&pair.key);
    (Process::spawn("openssl", command, &dir.join("openssl.log")), port)
}

/// The kind that a check is of.
fn kind_of(check: &Value) -> String {
    let fields = check.as_object().expect("a check");
    fields.keys().next().cloned().expect("a kind")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_over_http_and_by_command() {
    let files = tempfile::TempDir::new().expect("a folder");
    let dir = files.path();
    let script = dir.join("check_load");
    fs::write(&script, "#!/bin/sh\necho \"LOAD OK for $1|load=0.5\"\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permissions");
    let authority = Authority::new(dir, "ca");
    let (_tls, tls_port) = openssl(dir, &authority.issue(dir, "web", &["127.0.0.1"]));
    let (_socket, socket_port) = websocket(dir);
    let unix = dir.join("app.sock");
    let _unix = std::os::unix::net::UnixListener::bind(&unix).expect("a socket");
    let collector = json!({"scripts": {"dir": dir}, "files_dir": dir, "targets": {"allow": [dir]}});
    let cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &cluster.nodes[0];
    let (_dns, dns_port) = unbound(cluster.dir()).await;
    let port = |address: &str| -> u16 {
        address.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port")
    };
    let (grpc_port, http_port) = (port(&node.client), port(&node.http));
    let checks = [
        (json!({"http": {"port": http_port, "path": "/healthz"}}), "status 200"),
        (json!({"tcp": {}}), "connected"),
        (
            json!({"tls": {"port": tls_port, "tls": {"ca_file": "ca.pem"}}}),
            "TLS 1.3, certificate valid for ",
        ),
        (json!({"websocket": {"port": socket_port, "path": "/live"}}), "status 101"),
        (json!({"unix": {"path": unix}}), "connected"),
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
        (json!({"etcd": {"canary_key": "/canary"}}), "member 1 is leader, etcd 3."),
        (json!({"ttl": {"ttl_ms": 60_000}}), "passing: 42 jobs"),
        (json!({"alias": {"service": "web"}}), "service web: 2 of 2 instances are well"),
    ];
    let mut kinds: Vec<_> = checks.iter().map(|(check, _)| kind_of(check)).collect();
    kinds.sort();
    let mut all: Vec<_> = watchkeep_catalog::Kind::NAMES.iter().map(ToString::to_string).collect();
    all.sort();
    assert_eq!(kinds, all, "every kind is here");
    let named = |(check, _): &(Value, &str)| {
        let (mut check, kind) = (check.clone(), kind_of(check));
        (check["name"], check["interval_ms"]) = (json!(kind), json!(200));
        // The debug build of a node on a busy machine may take its time.
        check["timeout_ms"] = json!(2_000);
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
        let args = ["service", "report", "--service", "web", "--id", id, "--check", "ttl"];
        let args = [&args[..], &["--status", "passing", "--output", "42 jobs"]].concat();
        watchkeep(node, &args).expect("reported");
    }
    for id in ["by-http", "by-command"] {
        for ((_, reason), check) in checks.iter().zip(&all) {
            let kind = check["name"].as_str().expect("a name");
            let found = opinion(node, id, kind, "passing").await;
            // Whoever looks at once may see one instance only.
            if kind != "alias" {
                let said = found["reason"].as_str().unwrap_or_default();
                assert!(said.starts_with(reason), "{kind}: {said}, expected {reason}");
            }
        }
        node.verdict("web", id, "passing", SOON).await;
    }

    for (check, part) in [
        (json!({"name": "c", "dns": {"query_name": "a", "query_type": "X"}}), "dns.query_type"),
        (json!({"name": "c", "tcp": {"query_response": [{"expect": "("}]}}), "step 1: expect"),
        (json!({"name": "c", "script": {"command": "../sh"}}), "script.command"),
        (json!({"name": "c", "ttl": {"ttl_ms": 1}}), "ttl.ttl_ms"),
        (
            json!({"name": "c", "ttl": {"ttl_ms": 9_000}, "assertions": ["status == 200"]}),
            "there is no variable status; there are output, duration_ms, timings, now",
        ),
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

/// `output` is the text of the report, and a report that is critical by itself is not looked at further.
#[tokio::test(flavor = "multi_thread")]
async fn assertions_judge_what_a_service_reports() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let assertion = "output.startsWith('42') && !output.contains('stuck')";
    let check = json!({
        "name": "alive", "interval_ms": 100, "fall": 1, "ttl": {"ttl_ms": 60_000},
        "assertions": [assertion],
    });
    let instance = json!({"id": "w1", "address": "h", "port": 1, "checks": [check]});
    node.register("web", &instance).await;
    let url = node.url("/v1/services/web/instances/w1/checks/alive");
    for (status, output, verdict, reason) in [
        ("passing", "42 jobs", "passing", None),
        ("passing", "42 jobs, 3 stuck", "critical", Some(format!("assertion failed: {assertion}"))),
        ("warning", "42 jobs, 3 slow", "passing", None),
        ("critical", "all stuck", "critical", Some("critical: all stuck".to_owned())),
    ] {
        let report = json!({"status": status, "output": output});
        http::post(&url, &report).await.expect("it is taken");
        let found = node.verdict("web", "w1", verdict, SOON).await;
        if let Some(reason) = reason {
            assert_eq!(found["reason"], format!("alive: {reason}"), "{report}");
        }
    }
}
