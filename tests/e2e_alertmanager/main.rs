//! Watchkeep as an Alertmanager: its own tools, a real Prometheus, and the real Alertmanager beside it.

#[path = "../common/mod.rs"]
mod common;

mod alone;
mod differential;
mod flags;
mod grafana;
mod receivers;
mod services;
mod takeover;

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use serde_json::{Value, json};

use common::{
    Cluster,
    alertmanager::{amtool, amtool_output},
    cluster::{WATCHKEEP, encode},
    eventually, http, ports,
    process::Process,
    prometheus::Prometheus,
    receiver::Receiver,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);

/// A node that tells `receiver` of every alert.
async fn node(receiver: &Receiver, nodes: usize) -> Cluster {
    let configuration = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h,\n\
         \x20 routes: [{{matchers: [team=\"db\"], receiver: db}}]}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: \"{}\"}}]}}, {{name: db}}]\n",
        receiver.url("/hook")
    );
    let cluster = Cluster::layout(nodes, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    for node in &cluster.nodes {
        fs::write(node.dir.join("am.yml"), &configuration).expect("written");
    }
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    cluster
}

/// The alerts of a webhook's bodies by name, in the order in which they came. What came twice under one key counts once: a
/// leader that died before it had noted an answer leaves its message to the next one.
fn told(receiver: &Receiver, path: &str) -> Vec<(String, String)> {
    let mut keys = BTreeSet::new();
    let requests = receiver.at(path).into_iter();
    let bodies = requests
        .filter(|request| keys.insert(request.header("Idempotency-Key").to_owned()))
        .map(|request| request.json());
    bodies
        .flat_map(|body: Value| body["alerts"].as_array().cloned().unwrap_or_default())
        .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["status"])))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn amtool_does_each_of_its_commands() {
    let receiver = Receiver::start().await;
    let cluster = node(&receiver, 1).await;
    let at = cluster.nodes[0].http.clone();
    // Alerts.
    amtool(&at, &["alert", "add", "Down", "instance=web-1", "--annotation=summary=it is down"]);
    let body = receiver.wait("/hook", 1, SOON).await[0].json();
    assert_eq!(body["version"], "4");
    assert_eq!(body["groupKey"], "{}:{alertname=\"Down\"}");
    assert_eq!(body["commonAnnotations"]["summary"], "it is down");
    let listed = amtool(&at, &["alert", "query", "instance=~web.*"]);
    assert!(listed.contains("Down") && listed.contains("it is down"), "{listed}");
    let listed = amtool(&at, &["-o", "json", "alert", "query", "alertname=Other"]);
    assert_eq!(listed.trim(), "[]");
    let listed = amtool(&at, &["-o", "extended", "alert", "query"]);
    assert!(listed.contains("active"), "{listed}");
    // Silences.
    let add =
        ["silence", "add", "instance=web-1", "--comment=repair", "--author=ann", "--duration=1h"];
    let id = amtool(&at, &add).trim().to_owned();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(amtool(&at, &["silence", "query", "-q"]).trim(), id);
    let active = amtool(&at, &["-o", "json", "alert", "query"]);
    assert!(active.contains("\"suppressed\"") || active.trim() == "[]", "{active}");
    let silenced = amtool(&at, &["-o", "json", "alert", "query", "--silenced"]);
    assert!(silenced.contains(&id), "{silenced}");
    let updated = amtool(&at, &["silence", "update", &id, "--duration=2h", "--comment=longer"]);
    assert!(updated.contains("longer"), "{updated}");
    let exported = amtool(&at, &["-o", "json", "silence", "query"]);
    amtool(&at, &["silence", "expire", &id]);
    assert_eq!(amtool(&at, &["silence", "query", "-q"]).trim(), "");
    assert!(amtool(&at, &["silence", "query", "-q", "--expired"]).contains(&id));
    let again = amtool_output(&at, &["silence", "expire", &id]);
    assert!(!again.status.success(), "a silence ends once");
    let file = cluster.dir().join("silences.json");
    // What is imported is new.
    let mut silences: Value = serde_json::from_str(&exported).expect("JSON");
    silences[0]["id"] = json!("");
    fs::write(&file, silences.to_string()).expect("written");
    amtool(&at, &["silence", "import", &file.display().to_string()]);
    assert_eq!(amtool(&at, &["silence", "query", "-q"]).lines().count(), 1);
    // What is wrong is refused in words.
    let wrong = amtool_output(&at, &["silence", "add", "x=y", "a=~(", "--comment=x", "--author=x"]);
    assert!(!wrong.status.success());
    // The configuration.
    let shown = amtool(&at, &["config", "show"]);
    assert!(shown.contains("group_by") && shown.contains("<secret>"), "{shown}");
    let routes = amtool(&at, &["config", "routes", "show"]);
    assert!(routes.contains("{team=\"db\"}  receiver: db"), "{routes}");
    assert_eq!(amtool(&at, &["config", "routes", "test", "team=db"]).trim(), "db");
    assert_eq!(amtool(&at, &["config", "routes", "test", "team=web"]).trim(), "hook");
    // Templates and files, which amtool does by itself, with the same file that we read.
    let yml = cluster.nodes[0].dir.join("am.yml").display().to_string();
    assert!(amtool(&at, &["check-config", &yml]).contains("SUCCESS"));
    let template = cluster.dir().join("x.tmpl");
    fs::write(&template, "{{ define \"x\" }}{{ .Status | toUpper }}{{ end }}").expect("written");
    let glob = format!("--template.glob={}", template.display());
    let rendered =
        amtool(&at, &["template", "render", &glob, "--template.text={{ template \"x\" . }}"]);
    assert_eq!(rendered.trim(), "ALERTSTATUS", "amtool's own data");
    let status: Value = http::json(http::client().get(cluster.nodes[0].url("/api/v2/status")))
        .await
        .expect("status");
    assert_eq!(status["cluster"]["status"], "ready");
    let metrics =
        http::text(http::client().get(cluster.nodes[0].url("/metrics"))).await.expect("metrics");
    for series in [
        "alertmanager_alerts_received_total{status=\"firing\"} 1",
        "alertmanager_alerts_invalid_total 0",
        "alertmanager_notifications_total{integration=\"webhook\"} 1",
        "alertmanager_notifications_failed_total{integration=\"webhook\"} 0",
        "alertmanager_notification_requests_total{integration=\"webhook\"} 1",
        "alertmanager_notification_requests_failed_total{integration=\"webhook\"} 0",
        "alertmanager_notification_latency_seconds_count{integration=\"webhook\"} 1",
        "alertmanager_dispatcher_aggregation_groups 1",
        "alertmanager_config_last_reload_successful 1",
        "watchkeep_alerting_registry_lost 0",
    ] {
        assert!(metrics.contains(&format!("{series}\n")), "no {series}");
    }
    assert!(metrics.contains("alertmanager_config_last_reload_success_timestamp_seconds "));
}

/// With the flags of a unit file as they are, the URL of a proxy among them: notifications link to it, and nobody takes the
/// node for dead because it cannot be reached by it from inside.
#[tokio::test]
async fn a_unit_file_needs_one_changed_word() {
    const OUTSIDE: &str = "https://alerts.example.invalid";
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().expect("a folder"));
    let configuration = format!(
        "route: {{receiver: hook, group_wait: 0s}}\nreceivers: [{{name: hook, webhook_configs: [{{url: \"{}\"}}]}}]\n",
        receiver.url("/hook")
    );
    fs::write(dir.path().join("alertmanager.yml"), configuration).expect("written");
    let (at, peer) =
        (format!("127.0.0.1:{}", ports::free()), format!("127.0.0.1:{}", ports::free()));
    let mut command = Command::new(WATCHKEEP);
    command.current_dir(dir.path()).args(["serve", "--until-stdin-closes"]);
    command.args(["--client-listen", &format!("127.0.0.1:{}", ports::free())]);
    command.args(["--peer-listen", &peer, "--initial-cluster", &format!("1={peer}")]);
    command.args([
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        &format!("--web.listen-address={}", at.replace("127.0.0.1", "localhost")),
        &format!("--web.external-url={OUTSIDE}"),
        "--web.route-prefix=/",
        "--data.retention=120h",
        "--cluster.listen-address=",
        "--cluster.peer=other:9094",
        "--log.level=info",
    ]);
    let process = Process::spawn("watchkeep", command, &dir.path().join("log"));
    let ask = async |path: &str| http::text(http::client().get(format!("http://{at}{path}"))).await;
    eventually("it is ready", SOON, async || ask("/-/ready").await).await;
    let said = amtool_output(&at, &["alert", "add", "Down", "--annotation=summary=it is down"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.is_empty(), "amtool finds what it knows: {said}");
    let body = receiver.wait("/hook", 1, SOON).await[0].json();
    assert_eq!(body["externalURL"], OUTSIDE);
    eventually("it finds itself well", SOON, async || {
        let instances = ask("/v1/services/watchkeep/instances").await?;
        ensure(instances.contains("\"status\":\"passing\""), || instances)
    })
    .await;
    let incidents = ask("/v1/incidents").await.expect("incidents");
    assert_eq!(incidents, "{\"incidents\":[]}");
    // Links of the rules that come with the program, too.
    let rules = ask("/api/v1/rules").await.expect("rules");
    assert!(rules.contains(&format!("{OUTSIDE}/runbooks/WatchkeepNoLeader")), "{rules}");
    assert!(!rules.contains(":8480/runbooks/"), "{rules}");
    let log = process.output();
    assert!(log.contains("--cluster.peer") && log.contains("members of one registry"), "{log}");
}

#[tokio::test]
async fn any_member_takes_alerts_and_a_restart_forgets_none() {
    let receiver = Receiver::start().await;
    let mut cluster = node(&receiver, 3).await;
    let leader = cluster.alerting_leader().await;
    let other = (leader + 1) % 3;
    amtool(&cluster.nodes[other].http, &["alert", "add", "Down", "--end=2099-01-01T00:00:00Z"]);
    receiver.wait("/hook", 1, SOON).await;
    // The leader dies: the next one knows what was told, and tells what is new.
    cluster.nodes[leader].kill();
    let added = |name: &'static str, at: String| async move {
        let alerts = json!([{"labels": {"alertname": name}, "endsAt": "2099-01-01T00:00:00Z"}]);
        let url = format!("http://{at}/api/v2/alerts");
        eventually("an alert is taken", SOON, async || {
            http::text(http::client().post(&url).json(&alerts)).await
        })
        .await;
    };
    added("Slow", cluster.nodes[other].http.clone()).await;
    let told_of = |name: &str| told(&receiver, "/hook").iter().filter(|t| t.0 == name).count();
    eventually("the new alert is told of", SOON, async || {
        ensure(told_of("Slow") == 1, || format!("{:?}", told(&receiver, "/hook")))
    })
    .await;
    assert_eq!(told_of("Down"), 1, "what was told is not told again");
    // All of it is there after a restart of everything.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.ready().await;
    cluster.alerting_leader().await;
    let at = cluster.nodes[leader].http.clone();
    eventually("the alerts are there", SOON, async || {
        let url = format!("http://{at}/api/v2/alerts");
        let alerts = http::json(http::client().get(&url)).await?;
        ensure(alerts.as_array().map(Vec::len) == Some(2), || alerts.to_string())
    })
    .await;
    added("Third", at).await;
    eventually("the third is told of", SOON, async || {
        ensure(told_of("Third") == 1, || format!("{:?}", told(&receiver, "/hook")))
    })
    .await;
    assert_eq!((told_of("Down"), told_of("Slow")), (1, 1));
}

/// When a record was created.
async fn created(node: &common::Node, prefix: &str) -> Vec<u64> {
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let range = json!({"key": encode(prefix), "range_end": encode(&end)});
    let answer = node.v3("kv/range", &range).await.expect("an answer");
    let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
    kvs.iter().map(|kv| text(&kv["create_revision"]).parse().expect("a revision")).collect()
}

/// An alert that comes to the leader and is told at once costs one transaction; elsewhere it costs two, and nobody is told less.
#[tokio::test]
async fn on_the_leader_alert_and_decision_are_one_transaction() {
    const ALERTS: usize = 8;
    let receiver = Receiver::start().await;
    let cluster = node(&receiver, 3).await;
    let leader = cluster.alerting_leader().await;
    let (alerts, decisions) = ("/watchkeep/alerts/", "/watchkeep/alerting/notifications/");
    let mut together = Vec::new();
    for (turn, at) in [leader, (leader + 1) % 3].into_iter().enumerate() {
        for number in 0..ALERTS {
            let name = format!("A{turn}-{number}");
            amtool(&cluster.nodes[at].http, &["alert", "add", &name]);
            let count = turn * ALERTS + number + 1;
            receiver.wait("/hook", count, SOON).await;
        }
        let node = &cluster.nodes[at];
        let (alerts, decisions) = (created(node, alerts).await, created(node, decisions).await);
        together.push(alerts.iter().filter(|at| decisions.contains(at)).count());
    }
    let [led, all] = together[..] else { panic!("two turns") };
    // Now and then the leader is writing still that the last one was taken.
    assert!(led > ALERTS / 2, "{led} of {ALERTS} alerts were written with their decision");
    assert_eq!(all, led, "a node that does not lead writes no decision");
    assert_eq!(told(&receiver, "/hook").len(), 2 * ALERTS);
}

/// What people do in a browser: look, silence, end it.
#[tokio::test]
async fn the_console_shows_alerts_and_silences_them() {
    let receiver = Receiver::start().await;
    let cluster = node(&receiver, 1).await;
    let node = &cluster.nodes[0];
    amtool(
        &node.http,
        &["alert", "add", "Down", "instance=web-1", "--annotation=summary=<b>it is down"],
    );
    let page = async || http::text(http::client().get(node.url("/alerts"))).await;
    let is_shown = async |part: &str| {
        eventually(&format!("the page shows {part}"), SOON, async || {
            let page = page().await?;
            ensure(page.contains(part), || page.clone())?;
            Ok(page)
        })
        .await
    };
    let shown = is_shown("instance=\"web-1\"").await;
    assert!(shown.contains("firing") && shown.contains("&lt;b&gt;it is down"), "{shown}");
    let press = async |path: &str, fields: &[(&str, &str)]| {
        http::send(http::client().post(node.url(path)).form(fields)).await.expect("an answer")
    };
    let (status, said) = press("/alerts/silences", &[("hours", "2"), ("by", "ann")]).await;
    assert!(status.is_client_error() && said.contains("label"), "{status}: {said}");
    let fields = [
        ("label", "[\"instance\",\"web-1\"]"),
        ("hours", "2"),
        ("by", "ann"),
        ("comment", "repair"),
    ];
    let (status, said) = press("/alerts/silences", &fields).await;
    assert!(status.is_success(), "{status}: {said}");
    is_shown("ann: repair").await;
    is_shown(">silenced<").await;
    let id = amtool(&node.http, &["silence", "query", "-q"]).trim().to_owned();
    let (status, said) = press(&format!("/alerts/silences/{id}/expire"), &[]).await;
    assert!(status.is_success(), "{status}: {said}");
    is_shown(">firing<").await;
    assert_eq!(amtool(&node.http, &["silence", "query", "-q"]).trim(), "");
    let (status, _) = press("/alerts/silences/absent/expire", &[]).await;
    assert!(status.is_client_error(), "{status}");
}

#[tokio::test]
async fn prometheus_delivers() {
    let receiver = Receiver::start().await;
    let cluster = node(&receiver, 1).await;
    let rules = cluster.dir().join("rules.yml");
    // Prometheus finds its Alertmanagers after five seconds, and drops what fires before.
    fs::write(
        &rules,
        "groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: 'vector(1)', for: 8s, labels: {team: web}}]}]\n",
    )
    .expect("written");
    let rest = format!(
        "static_configs: []\nrule_files: [{:?}]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{}\"]}}]}}]}}",
        rules, cluster.nodes[0].http
    );
    let _prometheus = Prometheus::with_job(cluster.dir(), &rest);
    let body = receiver.wait("/hook", 1, Duration::from_secs(40)).await[0].json();
    assert_eq!(body["commonLabels"], json!({"alertname": "Always", "team": "web"}));
    assert!(text(&body["alerts"][0]["generatorURL"]).starts_with("http"), "{body}");
}

#[tokio::test]
async fn a_hanging_webhook_delays_nobody_else_and_a_bad_file_changes_nothing() {
    let (hanging, receiver) = (Receiver::start_gated(false).await, Receiver::start().await);
    let mut cluster = node(&receiver, 1).await;
    let (node, file) = (&cluster.nodes[0], cluster.nodes[0].dir.join("am.yml"));
    let both = format!(
        "route: {{receiver: both, group_by: [alertname], group_wait: 0s, group_interval: 1m}}\n\
         receivers: [{{name: both, webhook_configs: [{{url: \"{}\"}}, {{url: \"{}\"}}]}}]\n",
        hanging.url("/hangs"),
        receiver.url("/answers")
    );
    let reload = http::client().post(node.url("/-/reload"));
    fs::write(&file, "route: {receiver: nobody}\n").expect("written");
    let refused = http::text(reload.try_clone().expect("no body")).await.expect_err("a bad file");
    assert!(
        refused.contains("am.yml:1: route.receiver: receiver \"nobody\" is not defined"),
        "{refused}"
    );
    let check =
        Command::new(WATCHKEEP).args(["check", "--config.file"]).arg(&file).output().expect("runs");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success() && said.contains("is not defined; defined: none"), "{said}");
    fs::write(&file, both).expect("written");
    http::text(reload).await.expect("a good file");
    for name in ["One", "Two", "Three"] {
        amtool(&node.http, &["alert", "add", name]);
    }
    receiver.wait("/answers", 3, SOON).await;
    hanging.wait("/hangs", 3, SOON).await;
    assert_eq!(hanging.at("/hangs").len(), 3, "each was asked once, and none has answered");
    // A signal does the same, as `ExecReload` of a unit file sends it.
    fs::write(&file, "route: {receiver: other}\nreceivers: [{name: other}]\n").expect("written");
    let id = cluster.nodes[0].process().id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill").success());
    let url = cluster.nodes[0].url("/api/v2/receivers");
    eventually("the file is read at SIGHUP", SOON, async || {
        let receivers = http::get(&url).await?;
        ensure(receivers == json!([{"name": "other"}]), || receivers.to_string())
    })
    .await;
}
