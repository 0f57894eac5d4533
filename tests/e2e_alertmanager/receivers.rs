//! What receivers get when their world is not as it should be: mail with TLS and a password, a mail server that is away for a
//! while, `oncall_configs`, and a lost registry.

use std::{collections::HashSet, fs, time::Duration};

use serde_json::{Value, json};

use super::{SOON, text};
use crate::common::{
    Cluster,
    alertmanager::amtool,
    eventually, http,
    mail::{self, MailServer, PASSWORD, USER, part},
    pki::Authority,
    receiver::Receiver,
    wait::ensure,
};

/// Nodes with this `alertmanager.yml`, and more settings of alerting.
async fn nodes(count: usize, configuration: &str, mut alerting: Value) -> Cluster {
    alerting["alertmanager_config"] = json!("am.yml");
    let cluster = Cluster::layout(count, &[("alerting", alerting)]);
    for node in &cluster.nodes {
        fs::write(node.dir.join("am.yml"), configuration).expect("written");
    }
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    cluster
}

#[tokio::test]
async fn mail_by_starttls_with_a_password_and_a_server_that_is_away() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let authority = Authority::new(dir.path(), "mail-ca");
    let pair = authority.issue(dir.path(), "mail", &["localhost"]);
    let mut server = MailServer::start_secure(dir.path(), pair).await;
    let password = dir.path().join("password");
    fs::write(&password, "an old one\n").expect("written");
    let configuration = format!(
        "global:\n\
         \x20 smtp_smarthost: localhost:{}\n\
         \x20 smtp_from: Watchkeep <watch@example.org>\n\
         \x20 smtp_auth_username: {USER}\n\
         \x20 smtp_auth_password: {PASSWORD}\n\
         route: {{receiver: mail, group_by: [alertname], group_wait: 0s, group_interval: 2s, repeat_interval: 1h}}\n\
         receivers:\n\
         - name: mail\n\
         \x20 email_configs:\n\
         \x20 - to: DBA <dba@example.org>, ops@example.org\n\
         \x20   send_resolved: true\n\
         \x20   text: '{{{{ .Status }}}}: {{{{ range .Alerts }}}}{{{{ .Labels.instance }}}} {{{{ end }}}}'\n\
         \x20   tls_config: {{ca_file: {}}}\n\
         \x20 - to: default@example.org\n\
         \x20   auth_password_file: {}\n\
         \x20   tls_config: {{ca_file: {}}}\n",
        server.port,
        authority.file.display(),
        password.display(),
        authority.file.display()
    );
    let cluster = nodes(1, &configuration, json!({})).await;
    let at = cluster.nodes[0].http.clone();
    let end = "--end=2099-01-01T00:00:00Z";
    amtool(
        &at,
        &[
            "alert",
            "add",
            "Down",
            "instance=first",
            "--annotation=summary=größer",
            "--annotation=runbook_url=https://wiki.example.org/x?a=1&b=2",
            end,
        ],
    );
    let first = mail::read(&server.wait(&["firing: first"], SOON).await);
    assert_eq!(first["session"], "tls=True user=watch");
    assert_eq!(first["subject"], "[FIRING:1] Down (first)");
    assert_eq!(first["to"], "DBA <dba@example.org>, ops@example.org");
    assert_eq!(text(&part(&first, "text/plain")["text"]).trim(), "firing: first");
    assert!(text(&part(&first, "text/html")["text"]).contains("größer"), "{first}");
    assert!(text(&first["id"]).ends_with("@example.org>"), "{first}");
    // A password that is replaced is read again.
    let failed = async || {
        let metrics = http::text(http::client().get(format!("http://{at}/metrics"))).await?;
        let failed = "alertmanager_notification_requests_failed_total{integration=\"email\"} ";
        let failed = metrics.lines().find_map(|line| line.strip_prefix(failed));
        failed.and_then(|count| count.parse::<u64>().ok()).ok_or("no such metric".to_owned())
    };
    eventually("the old password is refused", SOON, async || {
        let count = failed().await?;
        ensure(count > 0, || "none has failed".to_owned())
    })
    .await;
    assert_eq!(server.mails().len(), 1);
    fs::write(&password, PASSWORD).expect("written");
    // A receiver that says nothing of its words gets both parts, too, and links where there are some.
    let default = mail::read(&server.wait(&["To: default@example.org"], SOON).await);
    assert_eq!(default["subject"], "[FIRING:1] Down (first)");
    let plain = text(&part(&default, "text/plain")["text"]);
    assert!(plain.contains(" - instance = first") && plain.contains("summary = größer"), "{plain}");
    let html = text(&part(&default, "text/html")["text"]);
    assert!(html.contains("<a href=\"https://wiki.example.org/x?a=1&amp;b=2\">"), "{html}");

    // The server is away; what happens meanwhile is told when it is back: nothing is lost, and the end is not told before
    // the beginning.
    server.stop();
    amtool(&at, &["alert", "add", "Down", "instance=second", end]);
    amtool(&at, &["alert", "add", "Other", "instance=third", end]);
    amtool(&at, &["alert", "add", "Gone", "instance=fourth", end]);
    let before = failed().await.expect("a metric");
    eventually("deliveries fail", SOON, async || {
        let count = failed().await?;
        ensure(count >= before + 12, || format!("{count} after {before}"))
    })
    .await;
    amtool(&at, &["alert", "add", "Gone", "instance=fourth", "--end=2020-01-01T00:00:00Z"]);
    server.start_again().await;
    // A pause between two tries is at most a minute.
    let within = Duration::from_secs(90);
    let both = mail::read(&server.wait(&["firing: ", "second "], within).await);
    assert_eq!(both["references"], first["references"], "one group is one thread");
    assert_ne!(both["id"], first["id"]);
    let other = mail::read(&server.wait(&["firing: third"], within).await);
    assert_ne!(other["references"], first["references"]);
    // What began and was over meanwhile is told, too: as it was to whoever hears nothing of ends.
    server.wait(&["resolved: fourth"], within).await;
    let late =
        mail::read(&server.wait(&["To: default@example.org", "Gone (fourth)"], within).await);
    assert_eq!(late["subject"], "[FIRING:1] Gone (fourth)");
    amtool(&at, &["alert", "add", "Other", "instance=third", "--end=2020-01-01T00:00:00Z"]);
    let over = mail::read(&server.wait(&["resolved: third"], SOON).await);
    assert_eq!(over["subject"], "[RESOLVED] Other (third)");
    assert_eq!(over["references"], other["references"]);
    let mails: Vec<Value> = server.mails().iter().map(|mail| mail::read(mail)).collect();
    let ids: std::collections::BTreeSet<String> = mails.iter().map(|m| text(&m["id"])).collect();
    assert_eq!(ids.len(), mails.len(), "none was taken twice");
}

#[tokio::test]
async fn a_group_becomes_an_incident_of_whoever_is_on_call() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let server = MailServer::start(dir.path()).await;
    let configuration = "route: {receiver: duty, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n\
         receivers: [{name: duty, oncall_configs: [{title: '{{ .CommonLabels.alertname }} on {{ .CommonLabels.instance }}'}]}]\n";
    let alerting = json!({
        "smtp": {"host": "127.0.0.1", "port": server.port, "from": "watch@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary"},
    });
    let cluster = nodes(1, configuration, alerting).await;
    let node = &cluster.nodes[0];
    let add = |end: &str| {
        let end = format!("--end={end}");
        amtool(
            &node.http,
            &["alert", "add", "DiskFull", "instance=db-1", "severity=warning", &end],
        );
    };
    add("2099-01-01T00:00:00Z");
    let mail = mail::read(&server.wait(&["DiskFull on db-1"], SOON).await);
    assert_eq!(mail["subject"], "[FIRING warning] DiskFull on db-1");
    assert_eq!(mail["to"], "alice@example.org");
    // The same again is the same incident.
    add("2099-01-01T00:00:00Z");
    let incidents = async || http::get(&node.url("/v1/incidents")).await.expect("incidents");
    assert_eq!(incidents().await["incidents"].as_array().map(Vec::len), Some(1));
    add("2020-01-01T00:00:00Z");
    server.wait(&["[RESOLVED] DiskFull on db-1"], SOON).await;
    let all = incidents().await;
    let incident = &all["incidents"][0];
    assert_eq!(
        (text(&incident["status"]), text(&incident["source"])),
        ("resolved".into(), "alert".into())
    );
}

/// A node that has never heard of the registry may be the first to start: it waits for a minute before it alarms anybody.
pub(crate) async fn heard_of_the_registry(node: &crate::common::Node) {
    let url = node.url("/metrics");
    eventually("the node has heard of the registry", SOON, async || {
        let metrics = http::text(http::client().get(&url)).await?;
        let answer = "watchkeep_alerting_registry_answer_timestamp_seconds ";
        let at = metrics.lines().find_map(|line| line.strip_prefix(answer));
        ensure(at.is_some_and(|at| at != "0"), || format!("{at:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_lost_registry_keeps_nobody_from_being_told() {
    let receiver = Receiver::start().await;
    let configuration = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: \"{}\"}}]}}]\n",
        receiver.url("/hook")
    );
    let mut cluster = nodes(3, &configuration, json!({})).await;
    let post = async |node: &crate::common::Node, name: &str| {
        let alerts = json!([{"labels": {"alertname": name}, "endsAt": "2099-01-01T00:00:00Z"}]);
        http::text(http::client().post(node.url("/api/v2/alerts")).json(&alerts)).await
    };
    post(&cluster.nodes[0], "Before").await.expect("taken");
    receiver.wait("/hook", 1, SOON).await;
    heard_of_the_registry(&cluster.nodes[0]).await;
    for node in &mut cluster.nodes[1..] {
        node.kill();
    }
    let lost = async |node: &crate::common::Node, value: &str| {
        let url = node.url("/metrics");
        eventually(&format!("the registry is lost: {value}"), SOON, async || {
            let metrics = http::text(http::client().get(&url)).await?;
            let line = format!("watchkeep_alerting_registry_lost {value}\n");
            ensure(metrics.contains(&line), || "it is not".to_owned())
        })
        .await;
    };
    lost(&cluster.nodes[0], "1").await;
    // Taken, told, and it says why.
    eventually("an alert is taken", SOON, async || post(&cluster.nodes[0], "Meanwhile").await)
        .await;
    let told = eventually("it is told of", SOON, async || {
        let all = receiver.at("/hook").into_iter().map(|request| request.json());
        let found = all.into_iter().find(|body| body["groupLabels"]["alertname"] == "Meanwhile");
        found.ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert!(text(&told["watchkeep_notice"]).contains("registry is lost"), "{told}");
    assert!(text(&told["commonAnnotations"]["watchkeep_notice"]).contains("told twice"), "{told}");
    // And of the loss itself, by the same routes.
    let own = async |status: &str| {
        eventually(&format!("the loss is {status}"), SOON, async || {
            let mut all = receiver.at("/hook").into_iter().map(|request| request.json());
            let found = all.find(|body| {
                body["groupLabels"]["alertname"] == "WatchkeepRegistryLost"
                    && body["status"] == status
            });
            found.ok_or_else(|| "not told yet".to_owned())
        })
        .await
    };
    let loss = own("firing").await;
    assert_eq!(loss["commonLabels"]["severity"], "critical", "{loss}");
    let runbook = text(&loss["commonAnnotations"]["runbook_url"]);
    http::text(http::client().get(&runbook)).await.expect("its runbook");
    // What was known before is not told anew: where the dead leader had no time to write down that it was delivered, it
    // comes once more, as the same message.
    let before = |body: &Value| body["groupLabels"]["alertname"] == "Before";
    let all = receiver.at("/hook");
    let keys: HashSet<&str> = all
        .iter()
        .filter(|request| before(&request.json()))
        .map(|request| request.header("Idempotency-Key"))
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    // The registry is back, and knows what came meanwhile, on every node.
    for node in &mut cluster.nodes[1..] {
        node.start();
    }
    cluster.ready().await;
    lost(&cluster.nodes[0], "0").await;
    // Whoever leads now tells that it is over, once.
    let over = own("resolved").await;
    assert_eq!(over["commonLabels"]["instance"], loss["commonLabels"]["instance"], "{over}");
    let url = cluster.nodes[2].url("/api/v2/alerts");
    eventually("the alert is in the registry", SOON, async || {
        let alerts = http::get(&url).await?;
        let names: Vec<String> = alerts
            .as_array()
            .into_iter()
            .flatten()
            .map(|alert| text(&alert["labels"]["alertname"]))
            .collect();
        ensure(names.contains(&"Meanwhile".to_owned()), || format!("{names:?}"))
    })
    .await;
}

/// A node without an `alertmanager.yml` has no routes: it calls whoever is on call by itself, and tells the end to the same.
#[tokio::test]
async fn without_routes_a_lost_registry_calls_whoever_is_on_call() {
    let receiver = Receiver::start().await;
    let alerting = json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice")}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary"},
    });
    let mut cluster = Cluster::start(3, &[("alerting", alerting)]).await;
    cluster.alerting_leader().await;
    heard_of_the_registry(&cluster.nodes[0]).await;
    let name = cluster.nodes[0].name.clone();
    for node in &mut cluster.nodes[1..] {
        node.kill();
    }
    let told = async |status: &str| {
        eventually(&format!("alice is told: {status}"), SOON, async || {
            let mut all = receiver.at("/alice").into_iter().map(|request| request.json());
            let found = all.find(|body| {
                body["commonLabels"]["alertname"] == "WatchkeepRegistryLost"
                    && body["status"] == status
            });
            found.ok_or_else(|| "not yet".to_owned())
        })
        .await
    };
    let called = told("firing").await;
    let summary = text(&called["commonAnnotations"]["summary"]);
    assert!(summary.contains(&name) && summary.contains("told twice"), "{called}");
    // Who is on call is asked just then.
    let duty = http::get(&cluster.nodes[0].url("/v1/oncall")).await.expect("who is on call");
    assert_eq!(
        (&duty["person"], &duty["registry_lost"]),
        (&json!("alice"), &json!(true)),
        "{duty}"
    );
    let console = http::text(http::client().get(cluster.nodes[0].url("/"))).await.expect("a page");
    assert!(console.contains("<b>alice</b> (primary)"), "{console}");
    for node in &mut cluster.nodes[1..] {
        node.start();
    }
    cluster.ready().await;
    told("resolved").await;
    let incidents = http::get(&cluster.nodes[0].url("/v1/incidents")).await.expect("incidents");
    let known = incidents.to_string().contains("WatchkeepRegistryLost");
    assert!(!known, "the registry knows nothing of it: {incidents}");
}

/// An expression that begins to hold when there is no registry any more: whoever is left evaluates it and tells.
#[tokio::test]
async fn rules_are_evaluated_without_the_registry() {
    const FIRES_IN_SECONDS: i64 = 30;
    let receiver = Receiver::start().await;
    let configuration = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: \"{}\"}}]}}]\n",
        receiver.url("/hook")
    );
    let at = chrono::Utc::now().timestamp() + FIRES_IN_SECONDS;
    let rules = format!(
        "groups: [{{name: g, interval: 1s, rules: [\
         {{alert: Late, expr: 'vector(time()) > {at}'}}, {{alert: Early, expr: 'vector(time()) < {at}'}}]}}]\n"
    );
    let alerting = json!({"alertmanager_config": "am.yml", "rule_files": ["rules.yml"], "shipped_rules": false});
    let cluster = Cluster::layout(3, &[("alerting", alerting)]);
    for node in &cluster.nodes {
        fs::write(node.dir.join("am.yml"), &configuration).expect("written");
        fs::write(node.dir.join("rules.yml"), &rules).expect("written");
    }
    let mut cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let told = async |name: &str, status: &str| {
        eventually(&format!("{name} is {status}"), Duration::from_secs(60), async || {
            let mut all = receiver.at("/hook").into_iter().map(|request| request.json());
            let found = all
                .find(|body| body["groupLabels"]["alertname"] == name && body["status"] == status);
            found.ok_or_else(|| "not told yet".to_owned())
        })
        .await
    };
    told("Early", "firing").await;
    for node in &mut cluster.nodes[1..] {
        node.kill();
    }
    let late = told("Late", "firing").await;
    assert!(text(&late["watchkeep_notice"]).contains("registry is lost"), "{late}");
    // What the leader before had told is over, and so it is told.
    let over = told("Early", "resolved").await;
    assert!(text(&over["watchkeep_notice"]).contains("registry is lost"), "{over}");
    for node in &mut cluster.nodes[1..] {
        node.start();
    }
    cluster.ready().await;
    cluster.alerting_leader().await;
    for node in &cluster.nodes {
        let url = node.url("/api/v2/alerts");
        eventually("it fires on every node", SOON, async || {
            let alerts = http::get(&url).await?;
            let all = alerts.as_array().into_iter().flatten();
            let names: Vec<String> = all.map(|a| text(&a["labels"]["alertname"])).collect();
            let right = names.contains(&"Late".to_owned()) && !names.contains(&"Early".to_owned());
            ensure(right, || format!("{names:?}"))
        })
        .await;
    }
}
