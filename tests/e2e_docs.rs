//! The documents tell the truth: what README says to type works, every YAML in them is valid, every link leads
//! somewhere.

use std::{fs, path::Path, process::Command, time::Duration};

mod common;
use common::{Cluster, cluster::WATCHKEEP, eventually, http, wait::ensure};

const SOON: Duration = Duration::from_secs(20);
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "README.md",
    "benches/README.md",
    "docs/alertmanager.md",
    "docs/api.md",
    "docs/auth.md",
    "docs/backup.md",
    "docs/blackbox.md",
    "docs/checks.md",
    "docs/configuration.md",
    "docs/dashboards.md",
    "docs/discovery.md",
    "docs/failover.md",
    "docs/failover-postgres.md",
    "docs/grafana.md",
    "docs/incidents.md",
    "docs/members.md",
    "docs/migrate.md",
    "docs/oncall.md",
    "docs/operations.md",
    "docs/query-api.md",
    "docs/quickstart.md",
    "docs/remote-write.md",
    "docs/rules.md",
    "docs/runbooks.md",
    "docs/scrape.md",
    "docs/telemetry.md",
    "docs/slo.md",
    "docs/decisions/README.md",
];

fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The code blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let folder = folder.parent().expect("a folder");
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{document}: {link}");
            }
        }
    }
}

/// The sources under a folder, or one file; tests and the demo's own servers apart.
fn sources(path: &Path, found: &mut Vec<String>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            sources(&entry.expect("an entry").path(), found);
        }
    } else if name.ends_with(".rs") && !name.contains("test") {
        found.push(fs::read_to_string(path).expect("a source"));
    }
}

/// Placeholders have different names here and there, and what is in brackets may be left out.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '[' | ']' => continue,
            _ if depth > 0 => continue,
            _ => {}
        }
        shape.push(c);
    }
    shape
}

/// Every path that a listener serves stands in docs/api.md.
#[test]
fn every_path_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src/http", "alerting/src", "collector/src", "registry/src/client.rs"] {
        sources(&root.join(folder), &mut found);
    }
    let first_text =
        |rest: &str| rest.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned);
    let mut paths: Vec<String> = found
        .iter()
        .flat_map(|source| source.split(".route(").skip(1).filter_map(first_text))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    let gateway = read("registry/src/gateway/routes.rs");
    let posted: Vec<String> = gateway
        .split("(\"/v3/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|path| format!("/v3/{path}"))
        .collect();
    assert!(posted.len() > 40, "{posted:?}");
    paths.extend(posted);
    let documented = shape(&read("docs/api.md"));
    for path in paths {
        assert!(documented.contains(&shape(&path)), "docs/api.md: {path} is missing");
    }
}

#[test]
fn every_configuration_is_valid() {
    let dir = tempfile::TempDir::new().expect("temporary folder");
    let text = read("docs/quickstart.md");
    let found = blocks(&text, "yaml");
    assert!(found.len() >= 2, "{found:?}");
    for block in found {
        let file = dir.path().join("watchkeep.yaml");
        fs::write(&file, block).expect("write");
        let check = Command::new(WATCHKEEP).arg("check").arg("--config").arg(&file).output();
        let check = check.expect("watchkeep");
        assert!(check.status.success(), "{block}\n{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_five_minutes_work_as_written() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    eventually("it watches itself", SOON, async || {
        let report = http::get(&node.url("/v1/slo/watchkeep")).await?;
        ensure(report["state"] == "up", || report.to_string())
    })
    .await;
    let readme = read("README.md");
    let mut ran = 0;
    for command in blocks(&readme, "sh").iter().flat_map(|block| commands(block)) {
        if !command.starts_with("curl") && !command.contains("etcdctl") {
            continue;
        }
        let here = command
            .replace("127.0.0.1:8480", &node.http)
            .replace("127.0.0.1:2379", &node.client)
            .replace("etcdctl ", &format!("etcdctl --endpoints {} ", node.client))
            .replace("curl ", "curl --fail-with-body --silent --show-error ");
        eventually(&command, SOON, async || {
            let output = Command::new("bash").args(["-c", &here]).output().expect("bash");
            let said = [output.stdout, output.stderr].concat();
            ensure(output.status.success(), || String::from_utf8_lossy(&said).into_owned())
        })
        .await;
        ran += 1;
    }
    assert!(ran >= 6, "only {ran} commands were found in README.md");
    for page in ["/", "/metrics", "/v1/slo/web?format=html"] {
        let answer = http::text(http::client().get(node.url(page))).await;
        assert!(answer.is_ok(), "{page}: {answer:?}");
    }
}

/// The commands of a block: a line each, and further lines while a quotation is open.
fn commands(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in block.lines() {
        match found.last_mut() {
            Some(last) if last.matches('\'').count() % 2 == 1 => {
                last.push('\n');
                last.push_str(line);
            }
            _ => found.push(line.to_owned()),
        }
    }
    found
}
