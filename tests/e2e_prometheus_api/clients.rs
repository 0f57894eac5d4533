//! Programs that are not ours ask a node: `promtool query`, Prometheus by remote read, vmalert.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::{
    SOON,
    common::{Cluster, eventually, http, ports, process::Process, wait::ensure},
    peers::{Peer, STEP_MS, get, samples, write},
};

fn promtool(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("promtool").arg("query").args(arguments).output();
    let output = output.map_err(|e| format!("promtool: {e}; `cargo xtask peers` installs it"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure(output.status.success(), || format!("{arguments:?}: {said}"))?;
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_prometheus_and_vmalert_ask_us() {
    let dir = TempDir::new().expect("temporary folder");
    let cluster = Cluster::start(1, &[]).await;
    let ours = cluster.nodes[0].url("");
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    write(&ours, &samples(now_ms)).await;
    let (now, before) = ((now_ms / 1_000).to_string(), (now_ms / 1_000 - 60).to_string());

    let selector = "--match=shape_total";
    for (arguments, words) in [
        (&["instant", &ours, "sum(shape_total)", "--time", &now][..], "{} => 29000087"),
        (
            &[
                "range",
                &ours,
                "shape_total{job=\"a\"}",
                "--start",
                &before,
                "--end",
                &now,
                "--step",
                "10s",
            ],
            "87 @[",
        ),
        (&["series", &ours, selector, "--start", &before, "--end", &now], "job=\"a\""),
        (&["labels", &ours, "job", "--start", &before, "--end", &now], "a"),
    ] {
        // The flags' place differs between versions of promtool; both take them after the arguments.
        let said = promtool(arguments).expect("promtool is answered");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let refused = promtool(&["instant", &ours, "sum("]).expect_err("no PromQL");
    assert!(refused.contains("bad_data"), "{refused}");

    // Prometheus reads from us what it does not have itself, streamed.
    let configuration = format!("remote_read:\n- url: {ours}/api/v1/read\n  read_recent: true\n");
    let prometheus = Peer::prometheus(dir.path(), &configuration).await;
    let query = [("query", "shape_total"), ("start", &before), ("end", &now), ("step", "10")];
    let theirs = get(&prometheus.base, "/api/v1/query_range", &query).await.expect("an answer");
    let own = get(&ours, "/api/v1/query_range", &query).await.expect("an answer");
    assert_eq!(theirs["data"], own["data"]);
    assert_eq!(own["data"]["result"].as_array().map(Vec::len), Some(2));

    vmalert(&dir, &ours).await;
    federate(&dir, &ours).await;
}

/// vmalert evaluates a rule over our samples, and writes what it recorded to us.
async fn vmalert(dir: &TempDir, ours: &str) {
    let rules = dir.path().join("rules.yml");
    let text = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: shape:sum, expr: sum(shape_total)}\n\
                - name: h\n  interval: 1s\n  rules:\n  - {alert: Shape, expr: 'shape_total > 0', for: 0s}\n";
    fs::write(&rules, text).expect("rules");
    let address = format!("127.0.0.1:{}", ports::free());
    let mut command = Command::new("vmalert");
    command.arg(format!("-rule={}", rules.display()));
    command.arg(format!("-datasource.url={ours}"));
    command.arg(format!("-remoteWrite.url={ours}"));
    command.arg("-notifier.url=http://127.0.0.1:9");
    command.arg(format!("-httpListenAddr={address}"));
    let process = Process::spawn("vmalert", command, &dir.path().join("vmalert.log"));
    let vmalert = Peer::ready(format!("http://{address}"), process, "/health").await;
    eventually("vmalert's alerts", SOON, async || {
        let answer = http::get(&format!("{}/api/v1/alerts", vmalert.base)).await?;
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        ensure(alerts.len() == 2, || answer.to_string())
    })
    .await;
    eventually("vmalert's recorded series", SOON, async || {
        let answer = get(ours, "/api/v1/query", &[("query", "shape:sum")]).await?;
        ensure(answer["data"]["result"][0]["value"][1] == "29000087", || answer.to_string())
    })
    .await;
}

/// `/federate` is a page that promtool has nothing against.
async fn federate(dir: &TempDir, ours: &str) {
    let request =
        http::client().get(format!("{ours}/federate")).query(&[("match[]", "shape_total")]);
    let page = http::text(request).await.expect("a page");
    assert!(page.contains("shape_total{job=\"a\",instance=\"\"} 87 "), "{page}");
    fs::write(dir.path().join("page"), &page).expect("written");
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(dir.path().join("page")).expect("the page"))
        .output()
        .expect("promtool");
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(!said.contains("error while linting"), "{said}");
}
