//! Bad input of every kind: each is refused with a clear error, and nothing is half done.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

mod common;
use common::{
    Cluster,
    cluster::{WATCHKEEP, encode},
    etcdctl, eventually, http, ports,
    process::Process,
};

const SOON: Duration = Duration::from_secs(20);
/// etcd's limit of a request.
const REQUEST_BYTES_MAX: usize = 3 * 512 * 1024;

/// A configuration, and what the error must say besides the file's name.
const CONFIGURATIONS: [(&str, &str, &[&str]); 9] = [
    ("malformed YAML", "node: {id: 1\nlisten: [", &["watchkeep.yaml:"]),
    ("not a mapping", "- 1\n- 2\n", &["watchkeep.yaml:1"]),
    ("unknown section", "nodes: {}\n", &["watchkeep.yaml:1", "nodes"]),
    (
        "unknown field",
        "node:\n  id: 1\nalerting:\n  pages:\n    reciever: [ops]\n",
        &["watchkeep.yaml:5", "reciever", "receivers"],
    ),
    ("wrong type", "node:\n  id: one\n", &["watchkeep.yaml:2", "id"]),
    (
        "unknown receiver",
        "alerting:\n  receivers:\n  - {name: ops-hook, webhook: \"http://127.0.0.1:1/\"}\n  pages:\n    receivers:\n    - dba\n",
        &[
            "watchkeep.yaml:6",
            "alerting.pages.receivers",
            "receiver \"dba\" is not defined",
            "ops-hook",
        ],
    ),
    (
        "bad cron line",
        "alerting:\n  people: [{name: alice}]\n  schedules:\n  - name: primary\n    start: 2026-01-05\n    \
         handoff: \"0 61 9 * * Mon *\"\n    rotation: [alice]\n",
        &["watchkeep.yaml:6", "handoff", "0 61 9 * * Mon *"],
    ),
    (
        "unknown time zone",
        "alerting:\n  people: [{name: alice}]\n  schedules:\n  - name: primary\n    start: 2026-01-05\n    \
         time_zone: Europe/Atlantis\n    handoff: \"0 0 9 * * Mon *\"\n    rotation: [alice]\n",
        &["watchkeep.yaml:6", "time_zone", "Europe/Atlantis"],
    ),
    (
        "port without a number",
        "listen:\n  client: 127.0.0.1:http\n",
        &["watchkeep.yaml:2", "client"],
    ),
];

#[test]
fn a_bad_configuration_is_refused_before_anything_starts() {
    for (what, text, parts) in CONFIGURATIONS {
        let dir = TempDir::new().expect("temporary folder");
        fs::write(dir.path().join("watchkeep.yaml"), text).expect("configuration");
        for command in ["check", "serve"] {
            let (ok, said) = watchkeep(&dir, &[command, "--config", "watchkeep.yaml"]);
            assert!(!ok, "{what}: {command} accepted it: {said}");
            for part in parts {
                assert!(said.contains(part), "{what}: {command}: {part:?} is not in {said}");
            }
            assert!(!said.contains("panicked"), "{what}: {said}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 1, "{what}: it left files");
    }
    let dir = TempDir::new().expect("temporary folder");
    for args in [
        &["serve", "--config", "absent.yaml"][..],
        &["serve", "--no-such-flag"],
        &["serve", "--roles", "registrar"],
        &["serve", "--initial-cluster", "one"],
        &["no-such-command"],
    ] {
        let (ok, said) = watchkeep(&dir, args);
        assert!(!ok && !said.is_empty(), "{args:?}: {said}");
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 0, "{args:?} left files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let mut cluster = Cluster::layout(1, &[]);
    for which in ["client", "peer", "http"] {
        let node = &mut cluster.nodes[0];
        let address = match which {
            "client" => &node.client,
            "peer" => &node.peer,
            _ => &node.http,
        };
        let (address, taken) = (address.clone(), TcpListener::bind(address).expect("bind"));
        node.start();
        let status = node.process().wait(SOON);
        let said = node.process().output();
        assert!(!status.success(), "{which}: {said}");
        assert!(said.contains(&address) && said.contains("in use"), "{which} {address}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        node.kill();
        fs::remove_file(node.log()).expect("log");
        drop(taken);
    }
    // With the ports free again, what the failed starts left behind does not disturb.
    cluster.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_another_node_is_refused() {
    let mut cluster = Cluster::start(1, &[]).await;
    let node = &mut cluster.nodes[0];
    node.v3("kv/put", &json!({"key": encode("mine"), "value": encode("1")})).await.expect("put");
    node.kill();
    let config = fs::read_to_string(node.config()).expect("configuration");
    let another = config.replace("id: 1,", "id: 2,").replace("{1: ", "{2: ");
    assert_ne!(another, config);
    fs::write(node.config(), another).expect("configuration");
    node.start();
    let status = node.process().wait(SOON);
    let said = node.process().output();
    assert!(!status.success(), "{said}");
    let data = node.dir.join("data").display().to_string();
    assert!(said.contains(&data), "the folder is not named in {said}");
    assert!(!said.contains("panicked"), "{said}");
    node.kill();

    // What was there is untouched. Who the members are is in the data now: that the file names another one beside this
    // says nothing, as with etcd.
    let hint = format!("{{1: \"{}\"}}", node.peer);
    let more = format!("{{1: \"{}\", 7: \"127.0.0.1:{}\"}}", node.peer, ports::free());
    let hinted = config.replace(&hint, &more);
    assert_ne!(hinted, config);
    fs::write(node.config(), hinted).expect("configuration");
    node.start();
    node.ready().await;
    let range = node.v3("kv/range", &json!({"key": encode("mine")})).await.expect("range");
    assert_eq!(range["count"], "1", "{range}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_request_is_refused() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let fits = "x".repeat(REQUEST_BYTES_MAX - 1024);
    etcdctl::ok_with(&node.client, &["put", "large"], &fits);
    for (bytes, part) in [
        (REQUEST_BYTES_MAX + 1, "request is too large"),
        // Beyond etcd's slack the transport refuses it, as etcd's does.
        (8 * REQUEST_BYTES_MAX, "larger than max"),
    ] {
        let refused = etcdctl::run(&node.client, &["put", "too-large"], &"x".repeat(bytes));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{bytes} bytes were accepted");
        let limit =
            said.contains(part) || said.contains("too large") || said.contains("out of range");
        assert!(limit, "{bytes}: {said}");
    }
    let put =
        json!({"key": encode("too-large"), "value": encode(&"x".repeat(2 * REQUEST_BYTES_MAX))});
    let url = format!("http://{}/v3/kv/put", node.client);
    let (status, said) = http::any(Method::POST, &url, Some(&put.to_string())).await;
    assert!(status.is_client_error(), "{status}: {said}");
    let range = node.v3("kv/range", &json!({"key": encode("too-large")})).await.expect("range");
    assert!(range["kvs"].as_array().is_none_or(Vec::is_empty), "half done: {range}");

    let huge = json!({"id": "a", "address": "h", "port": 1, "metadata": {"x": "y".repeat(REQUEST_BYTES_MAX)}});
    let url = node.url("/v1/services/web/instances");
    let (status, said) = http::any(Method::POST, &url, Some(&huge.to_string())).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{said}");
    problem(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_a_4xx_and_change_nothing() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let instances = "/v1/services/web/instances";
    let good = json!({"id": "web-1", "address": "127.0.0.1", "port": 80});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let check = |check: Value| with("checks", json!([check]));
    for (path, body, part) in [
        (instances, "{".to_owned(), "JSON"),
        (instances, "{}".to_owned(), "id"),
        (instances, with("colour", json!("red")), "colour"),
        (instances, with("port", json!(0)), "port"),
        (instances, with("port", json!(70_000)), "70000"),
        (instances, with("id", json!("a/b")), "a/b"),
        (instances, with("address", json!("")), "address"),
        (instances, with("ttl_seconds", json!(0)), "ttl_seconds"),
        (instances, check(json!({"name": "c"})), "http"),
        (instances, check(json!({"name": "c", "tcp": {}, "interval_ms": 1})), "interval_ms"),
        (instances, check(json!({"name": "c", "http": {"expected_status": [42]}})), "42"),
        (instances, check(json!({"name": "c", "http": {"expected_body": "("}})), "expected_body"),
        (
            instances,
            check(json!({"name": "c", "http": {}, "assertions": ["stats == 200"]})),
            "there is no variable stats",
        ),
        (instances, check(json!({"name": "c", "unix": {"path": "app.sock"}})), "unix.path"),
        ("/v1/services/a%2Fb/instances", good.to_string(), "a/b"),
    ] {
        let (status, said) = http::any(Method::POST, &node.url(path), Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {said}");
        assert!(problem(&said).contains(part), "{body}: {part:?} is not in {said}");
    }
    // Alerting answers once it has read the registry.
    eventually("alerting is ready", SOON, async || http::get(&node.url("/v1/slo")).await).await;
    for (method, path, body) in [
        (Method::GET, "/v1/services/absent", None),
        (Method::GET, "/v1/slo/absent", None),
        (Method::GET, "/v1/incidents/absent", None),
        (Method::GET, "/v1/failovers/absent", None),
        (Method::GET, "/nowhere", None),
        (Method::PUT, "/v1/services/web/instances/absent/heartbeat", None),
        (Method::DELETE, "/v1/services/web/instances/absent", None),
        (Method::POST, "/v1/incidents/absent", Some(r#"{"action":"acknowledge","by":"alice"}"#)),
    ] {
        let (status, said) = http::any(method.clone(), &node.url(path), body).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {said}");
        problem(&said);
    }
    for (method, path, body, code, words) in [
        (
            Method::PATCH,
            "/v1/services/web",
            None,
            405,
            "PATCH is not possible on /v1/services/web: the header Allow",
        ),
        (
            Method::POST,
            "/v1/incidents",
            Some("x".repeat(2_000_000)),
            413,
            "larger than 1572864 bytes",
        ),
        (Method::GET, "/api/v2/silences", None, 404, "set alerting.alertmanager_config"),
        (Method::GET, "/probe?target=x", None, 404, "set collector.blackbox_config"),
        (
            Method::GET,
            "/v1/services/web/instances?healthy=maybe",
            None,
            400,
            "healthy is \"maybe\": give true",
        ),
        (
            Method::GET,
            "/v1/services/web/instances?index=x",
            None,
            400,
            "index is \"x\": give a whole number",
        ),
        (Method::GET, "/v1/maintenance?all=1", None, 400, "all is \"1\": give true or false"),
        (Method::GET, "/v1/drains?every=1", None, 400, "there is no parameter `every`; give `all`"),
        (
            Method::GET,
            "/api/v1/rules?type=foo",
            None,
            400,
            "\"type\": \"foo\" is not known: give alert or record",
        ),
        (Method::GET, "/api/v1/query?query=up%20up", None, 400, "1:4: unexpected \"up\""),
        (
            Method::POST,
            instances,
            Some(check(json!({"name": "c", "tcp": {}, "interval_ms": "5s"}))),
            400,
            "instance: checks[0].interval_ms: invalid type: string \"5s\", expected a whole number",
        ),
        (
            Method::POST,
            "/v1/maintenance",
            Some(json!({"scope": {"service": "web"}, "to": "soon"}).to_string()),
            400,
            "to is \"soon\": ",
        ),
        (
            Method::POST,
            "/v1/services/web/instances/w/checks/c",
            Some(json!({"status": "ok"}).to_string()),
            400,
            "status: unknown variant `ok`",
        ),
    ] {
        let (status, said) = http::any(method.clone(), &node.url(path), body.as_deref()).await;
        assert_eq!(status.as_u16(), code, "{method} {path}: {said}");
        assert!(problem(&said).contains(words), "{method} {path}: {words:?} is not in {said}");
    }
    for path in [
        "/v1/oncall?at=yesterday",
        "/v1/slo?window=1y",
        "/v1/incidents?status=open",
        "/v1/services/web/instances?healthy=maybe",
    ] {
        let (status, said) = http::any(Method::GET, &node.url(path), None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {said}");
        problem(&said);
    }
    let answer = http::get(&node.url(instances)).await.expect("instances");
    assert_eq!(answer["instances"], json!([]), "half done: {answer}");
}

/// A record that a client wrote by hand and wrong does not stop the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_record_in_the_registry_harms_nobody_else() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    for (key, value) in [
        ("instances/web/broken", "{"),
        ("instances/web/wrong-port", r#"{"id":"wrong-port","address":"h","port":0}"#),
        ("instances/web", "too few segments"),
        ("opinions/web/good/tcp/nobody", "nonsense"),
        ("services/web", "[]"),
        ("incidents/x", "{}"),
        ("failovers/x", "\u{0}"),
    ] {
        etcdctl::ok_with(&node.client, &["put", &format!("/watchkeep/{key}")], value);
    }
    let port = listener.local_addr().expect("address").port();
    let good = json!({"id": "good", "address": "127.0.0.1", "port": port,
                      "checks": [{"name": "tcp", "interval_ms": 200, "timeout_ms": 150, "tcp": {}}]});
    node.register("web", &good).await;
    node.verdict("web", "good", "passing", SOON).await;
    drop(listener);
    node.verdict("web", "good", "critical", SOON).await;
    for path in ["/v1/incidents", "/v1/failovers", "/v1/slo", "/v1/services", "/"] {
        let (status, said) = http::any(Method::GET, &node.url(path), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {said}");
    }
}

/// Who mistypes a time is told which, and nobody is asked.
#[test]
fn a_wrong_time_is_named() {
    let dir = TempDir::new().expect("temporary folder");
    let cases: [&[&str]; 4] = [
        &["oncall", "--at", "yesterday"],
        &["oncall", "show", "primary", "--from", "yesterday"],
        &[
            "oncall",
            "override",
            "primary",
            "--person",
            "bob",
            "--by",
            "al",
            "--from",
            "yesterday",
            "--to",
            "2026-01-01T00:00:00Z",
        ],
        &[
            "oncall",
            "swap",
            "primary",
            "--by",
            "al",
            "--to",
            "yesterday",
            "--from",
            "2026-01-01T00:00:00Z",
        ],
    ];
    for args in cases {
        let (succeeded, said) = watchkeep(&dir, args);
        let flag = args[args.iter().position(|arg| *arg == "yesterday").expect("a time") - 1];
        assert!(!succeeded, "{args:?}: {said}");
        for part in [flag, "'yesterday'", "2026-01-05T09:00:00Z"] {
            assert!(said.contains(part), "{args:?}: no {part} in {said}");
        }
    }
}

/// The text of an error answer.
fn problem(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    body["error"].as_str().unwrap_or_else(|| panic!("no error in {body}")).to_owned()
}

/// Runs the program in `dir` to its end: whether it succeeded, and what it printed.
fn watchkeep(dir: &TempDir, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(WATCHKEEP);
    command.args(args).current_dir(dir.path());
    // Beside the folder, so that the folder shows only what the program left there.
    let log = dir.path().with_extension("log");
    let mut process = Process::spawn("watchkeep", command, &log);
    let status = process.wait(SOON);
    let said = process.output();
    fs::remove_file(log).expect("log");
    (status.success(), said)
}
