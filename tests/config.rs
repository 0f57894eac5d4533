//! The configuration: the example loads, every field is documented, and every mistake is named by its line.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

#[path = "common/pki.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the end-to-end tests")]
mod pki;
use pki::Authority;
#[path = "config/duty.rs"]
mod duty;

const WATCHKEEP: &str = env!("CARGO_BIN_EXE_watchkeep");
const EXAMPLE: &str = include_str!("../watchkeep.example.yaml");
const DOCS: &str = include_str!("../docs/configuration.md");

/// Runs the program in a folder that holds `watchkeep.yaml`.
fn run(text: &str, args: &[&str]) -> Output {
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("watchkeep.yaml"), text).expect("written");
    run_in(dir.path(), args)
}

fn run_in(dir: &Path, args: &[&str]) -> Output {
    Command::new(WATCHKEEP).args(args).current_dir(dir).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The example with its commented fields switched on, and the files they name beside it.
fn example_in_full(dir: &Path) -> String {
    fs::write(dir.join("promote.sh"), "#!/bin/sh\n").expect("written");
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        let field = line.trim_start().strip_prefix("# ").filter(|rest| rest.contains(": "));
        let Some(field) = field.filter(|_| line.starts_with("  ")) else {
            lines.push(line.replace("tls: none ", "tls: starttls "));
            continue;
        };
        let (name, value) = field.split_once(": ").expect("just seen");
        if value.starts_with('{') {
            lines.push(format!(
                "{}{name}: {}",
                &line[..line.len() - line.trim_start().len()],
                with_tls(value, dir)
            ));
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(file) = value.strip_prefix("/etc/watchkeep/") {
            let content = match name {
                "ca_file" => include_str!("data/ca.pem"),
                "alertmanager_config" => include_str!("data/alertmanager/everything.yml"),
                "http_web_config" => "rate_limit: {interval: 0s}\n",
                "blackbox_config" => include_str!("data/blackbox/everything.yml"),
                _ => "c2VjcmV0LW9mLXRoZS10ZXN0cw==\n",
            };
            fs::write(dir.join(file), content).expect("written");
            lines.push(format!("{indent}{name}: {}", dir.join(file).display()));
        } else {
            lines.push(format!("{indent}{name}: {value}"));
        }
    }
    lines.join("\n")
}

/// The value with its PEM files made.
fn with_tls(value: &str, dir: &Path) -> String {
    let authority = Authority::new(dir, "ca");
    for name in ["server", "peer", "client"] {
        authority.issue(dir, name, &["127.0.0.1"]);
    }
    fs::write(dir.join("http.password"), "secret\n").expect("written");
    value.replace("/etc/watchkeep", &dir.display().to_string())
}

#[test]
fn the_example_is_valid() {
    let output = run(EXAMPLE, &["check"]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "watchkeep.yaml: ok\n");
    assert!(output.status.success());
}

#[test]
fn every_field_is_in_the_example_and_in_the_docs() {
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("watchkeep.yaml"), example_in_full(dir.path())).expect("written");
    let output = run_in(dir.path(), &["check", "--print"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let config: Value = serde_saphyr::from_str(&text(&output.stdout)).expect("YAML");
    let mut fields = BTreeSet::new();
    collect(&config, "", &mut fields);
    assert!(fields.len() > 50, "{fields:?}");
    let mut missing = Vec::new();
    for (section, field) in &fields {
        let exampled = EXAMPLE.lines().any(|l| l.contains(&format!("{field}:")));
        let documented = section_of_docs(section).is_some_and(|docs| {
            let said = [format!("`{field}`"), format!(".{field}`"), format!("`{field}.")];
            said.iter().any(|form| docs.contains(form))
        });
        let itself = field == section && DOCS.contains(&format!("\n## {field}"));
        if !exampled || !(documented || itself) {
            missing.push(format!("{section}: {field}"));
        }
    }
    assert!(missing.is_empty(), "not in the example or not in the docs: {missing:#?}");
}

/// Every field's name with the section it stands in. Keys of `initial_cluster` are numbers, not fields.
fn collect(value: &Value, section: &str, fields: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object.iter().filter(|(name, _)| name.parse::<u64>().is_err()) {
                let section = if section.is_empty() { name } else { section };
                fields.insert((section.to_owned(), name.clone()));
                collect(value, section, fields);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, section, fields)),
        _ => {}
    }
}

/// The text under `## section`.
fn section_of_docs(section: &str) -> Option<&'static str> {
    let start = DOCS.find(&format!("\n## {section}"))?;
    let rest = &DOCS[start + 1..];
    Some(&rest[..rest.find("\n## ").unwrap_or(rest.len())])
}

#[test]
fn mistakes_are_named() {
    for (name, config) in [
        ("not_yaml", "node: {id: 1\nlisten: [\n"),
        ("unknown_field", "node:\n  id: 1\nalerting:\n  pages:\n    reciever: [ops]\n"),
        (
            "wrong_types",
            "node:\n  id: one\n  roles: [registry, janitor]\nlisten:\n  http: 8480\nslo:\n  latency_ms: -1\n",
        ),
        (
            "rules",
            "node:\n  name: a/b\n  roles: [registry, registry]\nlisten:\n  client: 127.0.0.1:2379\n  http: 0.0.0.0:2379\n\
             registry:\n  initial_cluster:\n    2: 127.0.0.1:2380\n  endpoints: [etcd]\n  election_timeout_ms: 5\n\
             collector:\n  retention_hours: 0\nslo:\n  availability: 99.99\ntelemetry:\n  otlp_endpoint: localhost\n",
        ),
        (
            "references",
            "alerting:\n  people:\n    - name: alice\n      email: alice@example.org\n  receivers:\n    \
             - {name: ops-hook, webhook: 'ftp://h/'}\n  schedules:\n    - name: primary\n      \
             handoff: 0 61 9 * * Mon *\n      start: 2026-01-05\n      time_zone: Europe/Atlantis\n      \
             rotation: [bob]\n  pages:\n    schedule: secondary\n    receivers:\n      - ops-hook\n      - dba\n  \
             failover:\n    - name: db\n      when: {}\n      callback: {url: 'http://h/', attempts_max: 0}\n",
        ),
        (
            "clash",
            "registry:\n  initial_cluster: {1: 'h:2380'}\nnode: {id: 3}\nlisten: {peer: '127.0.0.1:2379'}\n",
        ),
        (
            "addresses",
            "listen: {client: '0.0.0.0:2379'}\nregistry:\n  initial_cluster: {1: 'h:2380', 2: 'h:2380', 3: 'http://h:1'}\n",
        ),
        (
            "misfits_and_rules",
            "node: {id: 0}\ntelemetry:\n  log_format: xml\n  sampling_ratio: 7\nslo:\n  availability: 99.9\ndns:\n  \
             ttl_seconds: 90000\nalerting:\n  people: nobody\n  pages: {schedule: primary}\n",
        ),
        ("no_registry", "node:\n  roles: [collector]\n"),
        (
            "tls",
            "registry:\n  tls:\n    cert: absent.pem\n    client_cert_auth: true\n  peer_tls:\n    ca: absent-ca.pem\n  \
             client_tls:\n    key: absent-key.pem\n",
        ),
        (
            "tls_files",
            "registry:\n  tls: {}\n  peer_tls:\n    cert: absent.pem\n    key: watchkeep.yaml\n    ca: watchkeep.yaml\n",
        ),
        ("tls_own_rooms", "registry:\n  tls:\n    cert: watchkeep.yaml\n    key: watchkeep.yaml\n"),
        (
            "scrape",
            "collector:\n  scrape_configs:\n    - job_name: a\n      relabel_configs:\n        - action: keep\n        \
             - action: hashmod\n          target_label: x\n    - job_name: b\n      metric_relabel_configs:\n        \
             - {action: rename}\n    - job_name: c\n      tls_config:\n        ca_file: absent.pem\n  remote_write:\n    \
             - name: p\n      url: prometheus:9090\n    - name: q\n      url: http://h/\n      queue:\n        \
             max_shards: 0\n",
        ),
        (
            "scrape_rules",
            "collector:\n  scrape_configs:\n    - job_name: a\n      relabel_configs:\n        - action: keep\n        \
             - action: hashmod\n          target_label: x\n    - job_name: c\n      tls_config:\n        \
             ca_file: absent.pem\n  remote_write:\n    - name: p\n      url: prometheus:9090\n    - name: q\n      \
             url: http://h/\n      queue:\n        max_shards: 0\n",
        ),
        (
            "telemetry",
            "telemetry:\n  sampling_ratio: 1.5\n  otlp_metrics: true\n  otlp_metrics_interval_seconds: 0\n",
        ),
        ("telemetry_https", "telemetry: {otlp_endpoint: 'https://otel.example.org:4317'}\n"),
        (
            "web",
            "listen: {http_web_config: absent.yml}\ncollector:\n  http_client:\n    basic_auth: {username: u, password_file: absent}\n",
        ),
        ("list", "- 1\n- 2\n"),
        ("duplicate", "node: {id: 1}\nnode: {id: 2}\n"),
    ] {
        for command in ["check", "serve"] {
            let output = run(config, &[command, "--config", "watchkeep.yaml"]);
            assert_eq!(output.status.code(), Some(1), "{name}");
            assert_eq!(text(&output.stdout), "", "{name}");
            insta::assert_snapshot!(name, text(&output.stderr));
        }
    }
}

/// Files that are not what they should be are named for what they are; what will fail later is a warning.
#[test]
fn certificates_are_judged() {
    let dir = TempDir::new().expect("a folder");
    let authority = Authority::new(dir.path(), "ca");
    authority.issue(dir.path(), "good", &["127.0.0.1"]);
    authority.issue(dir.path(), "elsewhere", &["elsewhere.example.org"]);
    authority.issue_ended(dir.path(), "ended", &["127.0.0.1"]);
    authority.issue(dir.path(), "open", &["127.0.0.1"]);
    for (name, mode) in [("good", 0o600), ("elsewhere", 0o640), ("ended", 0o600), ("open", 0o644)] {
        let key = dir.path().join(format!("{name}-key.pem"));
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).expect("changed");
    }
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(dir.path().join("encrypted-key.pem"), encrypted).expect("written");
    let check = |cert: &str, key: &str| {
        let config = format!(
            "registry:\n  peer_tls:\n    cert: {cert}.pem\n    key: {key}-key.pem\n    ca: ca.pem\n"
        );
        fs::write(dir.path().join("watchkeep.yaml"), config).expect("written");
        let output = run_in(dir.path(), &["check"]);
        (output.status.success(), text(&output.stderr))
    };
    assert_eq!(check("good", "good"), (true, String::new()));
    for (cert, key, fits, part) in [
        (
            "good",
            "ended",
            false,
            ":4: registry.peer_tls.key: good.pem and ended-key.pem: the key is not the certificate's",
        ),
        (
            "good",
            "encrypted",
            false,
            ":4: registry.peer_tls.key: encrypted-key.pem: the private key is encrypted",
        ),
        (
            "good-key",
            "good",
            false,
            ":3: registry.peer_tls.cert: good-key.pem: there is no certificate in it, but a private key",
        ),
        (
            "ended",
            "ended",
            true,
            "warning: watchkeep.yaml:3: registry.peer_tls.cert: ended.pem: it has ended",
        ),
        (
            "open",
            "open",
            true,
            "warning: watchkeep.yaml:4: registry.peer_tls.key: open-key.pem: everybody on this machine",
        ),
        (
            "elsewhere",
            "elsewhere",
            true,
            ":3: registry.peer_tls.cert: elsewhere.pem: it does not name 127.0.0.1",
        ),
    ] {
        let (ok, said) = check(cert, key);
        assert!(ok == fits && said.contains(part), "{cert}, {key}: {said}");
    }
}

#[test]
fn mistakes_in_the_modules_are_named_by_their_own_file() {
    let dir = TempDir::new().expect("a folder");
    let config = "collector:\n  blackbox_config: blackbox.yml\n";
    fs::write(dir.path().join("watchkeep.yaml"), config).expect("written");
    for (name, modules) in [
        ("modules_absent", None),
        (
            "modules_unknown_option",
            Some(
                "modules:\n  web:\n    prober: http\n    http:\n      valid_codes: [200]\n      proxy: x\n",
            ),
        ),
        (
            "modules_rules",
            Some(
                "modules:\n  web:\n    prober: http\n    timeout: 5\n    http:\n      fail_if_body_matches_regexp: ['(']\n",
            ),
        ),
    ] {
        if let Some(modules) = modules {
            fs::write(dir.path().join("blackbox.yml"), modules).expect("written");
        }
        for command in ["check", "serve"] {
            let output = run_in(dir.path(), &[command, "--config", "watchkeep.yaml"]);
            assert_eq!(output.status.code(), Some(1), "{name}");
            insta::assert_snapshot!(name, text(&output.stderr));
        }
    }
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    for (name, args) in [
        ("flag_clash", &["serve", "--http-listen", "127.0.0.1:2379"][..]),
        ("flag_cluster", &["serve", "--node-id", "3", "--initial-cluster", "1=a:2380,2=b:2380"]),
        ("flag_node_id", &["serve", "--node-id", "0"]),
        ("flag_roles", &["serve", "--roles", "alerting"]),
        ("flag_data_dir", &["serve", "--data-dir", "watchkeep.yaml/data"]),
        ("no_file", &["check", "--config", "absent.yaml"]),
    ] {
        let output = run("", args);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}");
        insta::assert_snapshot!(name, text(&output.stderr));
    }
}

/// What the unit for systemd runs is there, with its flags.
#[test]
fn the_unit_for_systemd_fits() {
    let unit = include_str!("../examples/systemd/watchkeep.service");
    let commands = unit.lines().filter(|line| line.starts_with("Exec"));
    let commands: Vec<&str> =
        commands.filter_map(|line| line.split("/bin/watchkeep ").nth(1)).collect();
    assert_eq!(commands.len(), 2, "{unit}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let help = text(&run("", &[words[0], "--help"]).stdout);
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")), "{command}: no {flag}");
        }
    }
    assert!(unit.contains("\nType=notify\n"));
}

#[test]
fn flags_beat_the_file() {
    let config = "listen: {http: '127.0.0.1:1'}\nnode: {name: a/b}\n";
    // The name is wrong in the file, so nothing starts; the flag's value shows in what is not complained of.
    let output =
        run(config, &["serve", "--config", "watchkeep.yaml", "--http-listen", "127.0.0.1:2379"]);
    insta::assert_snapshot!("flags_beat_the_file", text(&output.stderr));
}
