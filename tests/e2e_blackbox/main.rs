//! `/probe` beside the real blackbox_exporter: the same modules, the same targets, and the pages compared name by name,
//! label by label, and value by value where the values are no timings. What differs on purpose stands in
//! `DIFFERENCES` and in `docs/blackbox.md`.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "../common/mod.rs"]
mod common;
mod servers;
mod targets;

use common::{Cluster, cluster::WATCHKEEP, eventually, http, ports, process::Process};
use targets::Targets;

const MODULES: &str = include_str!("../data/blackbox/differential.yml");

/// A page: name with labels, and value.
type Page = BTreeMap<String, f64>;

/// What differs on purpose, by module and target's name; empty module: everywhere.
const DIFFERENCES: &[(&str, &str)] = &[
    // Without a token the target is not looked up.
    ("http_oauth2_bad http://web/bearer", "probe_http_duration_seconds{phase="),
    ("http_oauth2_bad http://web/bearer", "probe_ip_"),
    // The certificate is told here as well.
    ("dns_tls dot", "probe_ssl_"),
    ("dns_tls dot", "probe_tls_version_info"),
    ("grpc_tls etcd", "probe_ssl_last_chain_expiry_timestamp_seconds"),
];

fn is_timing(name: &str) -> bool {
    name.starts_with("probe_duration_seconds")
        || name.starts_with("probe_dns_lookup_time_seconds")
        || name.contains("_duration_seconds{phase=")
}

fn parse(text: &str) -> Page {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Types by name: the exporter's and ours must agree, too.
fn types(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

fn compare(what: &str, theirs: &Page, ours: &Page, wrong: &mut Vec<String>) {
    let all: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    for name in all {
        let known = DIFFERENCES
            .iter()
            .any(|(case, metric)| (case.is_empty() || *case == what) && name.starts_with(metric));
        if known {
            continue;
        }
        match (theirs.get(name), ours.get(name)) {
            (Some(theirs), Some(ours)) if is_timing(name) || theirs == ours => {}
            (theirs, ours) => wrong.push(format!("{what}: {name}: {theirs:?}, ours {ours:?}")),
        }
    }
}

async fn probe(address: &str, module: &str, target: &str) -> (StatusCode, String) {
    probe_named(address, module, target, "").await
}

/// Tells an HTTP server another host than the target's, if one is given.
async fn probe_named(
    address: &str,
    module: &str,
    target: &str,
    hostname: &str,
) -> (StatusCode, String) {
    let query = [("module", module), ("target", target), ("hostname", hostname)];
    let query = if hostname.is_empty() { &query[..2] } else { &query[..] };
    let request = http::client().get(format!("http://{address}/probe")).query(query);
    http::send(request).await.expect("an answer")
}

struct Exporter {
    address: String,
    _process: Process,
}

impl Exporter {
    async fn start(dir: &Path, modules: &Path) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus-blackbox-exporter");
        command.arg(format!("--config.file={}", modules.display()));
        command.arg(format!("--web.listen-address={address}"));
        let log = dir.join("exporter.log");
        let exporter =
            Self { _process: Process::spawn("blackbox_exporter", command, &log), address };
        eventually("blackbox_exporter", Duration::from_secs(10), async || {
            http::text(http::client().get(format!("http://{}/-/healthy", exporter.address))).await
        })
        .await;
        exporter
    }
}

#[tokio::test]
async fn pages_equal_those_of_blackbox_exporter() {
    let dir = TempDir::with_prefix("watchkeep-blackbox-").expect("a folder");
    let targets = Targets::start(dir.path()).await;
    let modules = dir.path().join("blackbox.yml");
    fs::write(&modules, targets.fill(MODULES)).expect("written");
    let exporter = Exporter::start(dir.path(), &modules).await;
    let collector = json!({"blackbox_config": modules});
    let cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &cluster.nodes[0];
    let mut wrong = Vec::new();
    let cases = targets.cases(&node.client).into_iter().map(|(module, to)| (module, to, ""));
    for (module, target, hostname) in cases.chain(targets.named()) {
        let what = format!("{module} {} {hostname}", targets.name(&target)).trim_end().to_owned();
        let (theirs, ours) = tokio::join!(
            probe_named(&exporter.address, module, &target, hostname),
            probe_named(&node.http, module, &target, hostname)
        );
        assert_eq!(
            (theirs.0, ours.0),
            (StatusCode::OK, StatusCode::OK),
            "{what}: {} {}",
            theirs.1,
            ours.1
        );
        let kinds = types(&theirs.1);
        for (name, kind) in types(&ours.1) {
            if kinds.get(&name).is_some_and(|theirs| *theirs != kind) {
                wrong.push(format!("{what}: {name} is a {kind}"));
            }
        }
        compare(&what, &parse(&theirs.1), &parse(&ours.1), &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    refusals(&node.http, &targets).await;
    by_hand(&modules, &targets);
}

/// Requests that are none, the time that a scrape allows, and what the debug page shows.
async fn refusals(address: &str, targets: &Targets) {
    let target = targets.url("/");
    let (status, text) = probe(address, "absent", &target).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("\"absent\"") && text.contains("http_2xx"), "{text}");
    let (status, text) = probe(address, "http_2xx", "").await;
    assert_eq!((status, text.contains("target")), (StatusCode::BAD_REQUEST, true), "{text}");
    let query = [("module", "http_host"), ("target", target.as_str()), ("hostname", "other.test")];
    let request = http::client().get(format!("http://{address}/probe")).query(&query);
    let (status, text) = http::send(request).await.expect("an answer");
    assert_eq!((status, text.contains("other.test")), (StatusCode::BAD_REQUEST, true), "{text}");

    let mute = format!("http://{}/", targets.mute);
    let request = http::client().get(format!("http://{address}/probe"));
    let request = request.query(&[("module", "http_2xx"), ("target", &mute)]);
    let begin = std::time::Instant::now();
    let page = http::text(request.header("X-Prometheus-Scrape-Timeout-Seconds", "0.8")).await;
    let page = parse(&page.expect("a page"));
    assert_eq!(page.get("probe_success"), Some(&0.0));
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());

    let request = http::client().get(format!("http://{address}/probe"));
    let query = [("module", "http_bearer"), ("target", &target), ("debug", "true")];
    let text = http::text(request.query(&query)).await.expect("a page");
    for part in [
        "Logs for the probe:",
        "Metrics that would have been returned:",
        "probe_success 1",
        "Module configuration:",
        "<secret>",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("tiger"), "a secret is shown:\n{text}");
    let metrics = http::text(http::client().get(format!("http://{address}/metrics"))).await;
    let metrics = metrics.expect("metrics");
    let requests = "watchkeep_collector_probe_requests_total";
    for result in ["success", "failure", "refused"] {
        let series = format!("{requests}{{result=\"{result}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        assert!(value.is_some_and(|value| value != "0"), "{series}{value:?}");
    }
}

/// `watchkeep probe`.
fn by_hand(modules: &Path, targets: &Targets) {
    let run = |args: &[&str]| {
        let output = Command::new(WATCHKEEP).arg("probe").args(args).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = run(&["http", &targets.url("/")]);
    assert_eq!(code, Some(0), "{out}");
    for part in [
        ": passing, status 200",
        "resolve",
        "connect",
        "processing",
        " ms",
        "probe_http_status_code 200",
    ] {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let (code, out, err) = run(&["http", &targets.url("/missing"), "--json"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &report["good"]), (Some(1), &json!(false)), "{err}");
    assert_eq!(err.trim_end(), report["reason"].as_str().expect("a reason"));
    let missing = r#"{"expected_status": [404]}"#;
    assert_eq!(run(&["http", &targets.url("/missing"), "--settings", missing]).0, Some(0));
    // Kinds whose target is no address, where the configuration allows them.
    let dir = TempDir::new().expect("a folder");
    let (socket, script) = (dir.path().join("a.sock"), dir.path().join("check"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::write(&script, "#!/bin/sh\necho fine\n").expect("a script");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("it may run");
    let collector = json!({"targets": {"allow": [dir.path()]}, "scripts": {"dir": dir.path()}});
    let config = dir.path().join("watchkeep.yaml");
    std::fs::write(&config, json!({"collector": collector}).to_string()).expect("a configuration");
    for (kind, target) in [("unix", socket.display().to_string()), ("script", "check".to_owned())] {
        let (code, out, err) = run(&[kind, &target, "--config", &config.display().to_string()]);
        assert!(code == Some(0) && out.contains("passing"), "{kind}: {out}{err}");
    }
    let file = modules.display().to_string();
    let with = ["--module", "tcp_banner", "--blackbox-config", &file];
    let (code, out, err) = run(&[&["tcp", targets.banner.as_str()], &with[..]].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    for (args, words) in [
        (&["telepathy", "h:1"][..], "there is no kind \"telepathy\"; there are: "),
        (&["tcp", "h"], "\"h\" has no port; write it as host:port"),
        (&["tcp", "h:1", "--module", "m"], "there are no modules: "),
        (
            &["tcp", "h:1", "--module", "m", "--blackbox-config", &file],
            "module \"m\" is not defined; defined: ",
        ),
        (&["http", "h:1", "--settings", "{\"a\": 1}"], "--settings: http.a: unknown field `a`"),
        (&["dns", "h:1"], "such as --settings '{\"query_name\": \"example.org\""),
        (&["alias", "web"], "watchkeep service list SERVICE"),
        (&["tcp", "169.254.169.254:80"], "169.254.169.254 must not be probed"),
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, Some(1), "{args:?}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}
