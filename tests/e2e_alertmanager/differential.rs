//! The same random configuration and the same stream of alerts and silences, to the real Alertmanager and to us: the
//! same notifications to the same receivers, of the same groups, in the same order.
//!
//! Times are seconds instead of minutes. Everything happens at whole seconds, and groups look at themselves half a
//! second later (`group_wait`), so that neither side is asked anything while it looks.

use std::{collections::BTreeMap, fmt::Write, fs, process::Command, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{WATCHKEEP, text};
use crate::common::{
    Cluster, alertmanager::Alertmanager, eventually, http, receiver::Receiver, wait::ensure,
};

/// Another seed shows another world: `WATCHKEEP_SEED=7 cargo test --test e2e_alertmanager`.
const SEED: u64 = 20_260;
const STEPS: u64 = 15;
const RECEIVERS: usize = 8;
/// No group looks at itself within this time behind the last step.
const QUIET: Duration = Duration::from_secs(4);

const LABELS: [(&str, &[&str]); 4] = [
    ("team", &["a", "b", "c"]),
    ("severity", &["critical", "warning", "info"]),
    ("cluster", &["x", "y"]),
    ("instance", &["1", "2", "3"]),
];

struct World(StdRng);

impl World {
    fn matcher(&mut self) -> String {
        let (name, values) = LABELS.choose(&mut self.0).expect("labels");
        let value = values.choose(&mut self.0).expect("values");
        let other = values.choose(&mut self.0).expect("values");
        match self.0.random_range(0..6) {
            0 => format!("{name}!=\"{value}\""),
            1 => format!("{name}=~\"{value}|{other}\""),
            2 => format!("{name}!~\"{value}|{other}\""),
            _ => format!("{name}=\"{value}\""),
        }
    }

    fn interval(&mut self) -> &'static str {
        ["always", "never", "there", "elsewhere"].choose(&mut self.0).expect("intervals")
    }

    fn route(&mut self, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        for _ in 0..self.0.random_range(1..4) {
            let matchers: Vec<String> =
                (0..self.0.random_range(1..3)).map(|_| format!("'{}'", self.matcher())).collect();
            let _ = writeln!(out, "{pad}- matchers: [{}]", matchers.join(", "));
            // The older form beside it.
            match self.0.random_range(0..8) {
                0 => out.push_str(&format!("{pad}  match: {{cluster: x}}\n")),
                1 => out.push_str(&format!(
                    "{pad}  match_re: {{severity: 'critical|warn.*', team: '[ab]'}}\n"
                )),
                _ => {}
            }
            if self.0.random_bool(0.7) {
                let _ = writeln!(out, "{pad}  receiver: r{}", self.0.random_range(0..RECEIVERS));
            }
            if self.0.random_bool(0.5) {
                let _ = writeln!(out, "{pad}  continue: true");
            }
            match self.0.random_range(0..5) {
                0 => out.push_str(&format!("{pad}  group_by: ['...']\n")),
                1 => out.push_str(&format!("{pad}  group_by: [team, cluster]\n")),
                2 => out.push_str(&format!("{pad}  group_by: [severity]\n")),
                _ => {}
            }
            if self.0.random_bool(0.3) {
                let _ = writeln!(out, "{pad}  group_interval: 2s");
            }
            if self.0.random_bool(0.2) {
                let _ = writeln!(out, "{pad}  repeat_interval: 2500ms");
            }
            if self.0.random_bool(0.15) {
                let _ = writeln!(out, "{pad}  mute_time_intervals: [{}]", self.interval());
            }
            if self.0.random_bool(0.15) {
                let _ = writeln!(out, "{pad}  active_time_intervals: [{}]", self.interval());
            }
            if depth < 3 && self.0.random_bool(0.5) {
                let _ = writeln!(out, "{pad}  routes:");
                self.route(depth + 1, out);
            }
        }
    }

    /// A configuration that we take; of one that has a route that is never reached another one is made.
    fn configuration(&mut self, dir: &std::path::Path) -> String {
        for _ in 0..1_000 {
            let mut text = String::from(
                "route:\n  receiver: r0\n  group_by: [alertname]\n  group_wait: 500ms\n  group_interval: 1s\n  repeat_interval: 1h\n  routes:\n",
            );
            self.route(1, &mut text);
            text.push_str("inhibit_rules:\n");
            for _ in 0..2 {
                let (source, target) = (self.matcher(), self.matcher());
                let _ = writeln!(
                    text,
                    "- source_matchers: ['severity=\"critical\"', '{source}']\n  target_matchers: ['{target}']\n  equal: [cluster]"
                );
            }
            text.push_str(
                "time_intervals:\n- name: always\n  time_intervals: [{years: ['2000:2999']}]\n- name: never\n  time_intervals: [{years: ['1999']}]\n",
            );
            // A day there is another one in the zone that is 25 hours behind.
            let there = chrono::Utc::now() + chrono::TimeDelta::hours(14);
            let day = there.format("%A").to_string().to_lowercase();
            for (name, zone) in
                [("there", "Pacific/Kiritimati"), ("elsewhere", "Pacific/Pago_Pago")]
            {
                let _ = writeln!(
                    text,
                    "- name: {name}\n  time_intervals: [{{weekdays: ['{day}'], location: '{zone}'}}]"
                );
            }
            text.push_str("receivers:\n");
            for at in 0..RECEIVERS {
                let send_resolved = self.0.random_bool(0.8);
                let _ = writeln!(
                    text,
                    "- name: r{at}\n  webhook_configs: [{{url: 'URL/r{at}', send_resolved: {send_resolved}}}]"
                );
            }
            let file = dir.join("candidate.yml");
            fs::write(&file, text.replace("URL", "http://127.0.0.1:9")).expect("written");
            let check =
                Command::new(WATCHKEEP).args(["check", "--config.file"]).arg(&file).output();
            if check.expect("watchkeep runs").status.success() {
                return text;
            }
        }
        panic!("no random configuration is valid");
    }

    /// What is posted at one step: alerts that begin, end, or are said again.
    fn alerts(&mut self) -> Value {
        let ends = (chrono::Utc::now() - chrono::TimeDelta::milliseconds(1)).to_rfc3339();
        let alert = |rng: &mut StdRng| {
            let mut labels = json!({"alertname": format!("A{}", rng.random_range(0..3))});
            for (name, values) in LABELS {
                if rng.random_bool(0.85) {
                    labels[name] = json!(values.choose(rng).expect("values"));
                }
            }
            let mut alert =
                json!({"labels": labels, "annotations": {"x": rng.random_range(0..2).to_string()}});
            if rng.random_bool(0.35) {
                alert["endsAt"] = json!(ends);
            }
            alert
        };
        // Twice the same alert in one request would be one with two ends: once each.
        let mut all = BTreeMap::new();
        for _ in 0..self.0.random_range(2..7) {
            let alert = alert(&mut self.0);
            all.insert(alert["labels"].to_string(), alert);
        }
        all.into_values().collect()
    }
}

/// A notification without what differs by its nature: addresses, and times.
fn essence(body: &Value) -> String {
    let mut body = body.clone();
    body["externalURL"] = json!(null);
    for alert in body["alerts"].as_array_mut().expect("alerts") {
        for time in ["startsAt", "endsAt"] {
            alert[time] = json!(null);
        }
    }
    body.to_string()
}

/// By receiver and group, in order.
fn notifications(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for at in 0..RECEIVERS {
        for request in receiver.at(&format!("/r{at}")) {
            let body = request.json();
            let group = format!("r{at} {}", text(&body["groupKey"]));
            all.entry(group).or_default().push(essence(&body));
        }
    }
    all
}

#[tokio::test]
async fn the_same_notifications_as_alertmanager() {
    let seed = std::env::var("WATCHKEEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut world = World(StdRng::seed_from_u64(seed.unwrap_or(SEED)));
    let (theirs, ours) = (Receiver::start().await, Receiver::start().await);
    let cluster = Cluster::layout(1, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    let configuration = world.configuration(cluster.dir());
    fs::write(cluster.nodes[0].dir.join("am.yml"), configuration.replace("URL", &ours.url("")))
        .expect("written");
    let alertmanager =
        Alertmanager::start(cluster.dir(), &configuration.replace("URL", &theirs.url(""))).await;
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let both = [alertmanager.address.clone(), cluster.nodes[0].http.clone()];
    // The dispatcher takes office with the leader's key; the first alert waits for it.
    eventually("the API answers", Duration::from_secs(10), async || {
        http::text(http::client().get(cluster.nodes[0].url("/api/v2/status"))).await
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begin = Instant::now();
    for step in 0..STEPS {
        tokio::time::sleep_until(begin + Duration::from_secs(step)).await;
        let mut body = world.alerts();
        let mut path = "alerts";
        if step == 4 {
            let matcher =
                json!([{"name": "team", "value": "a", "isRegex": false, "isEqual": true}]);
            let at = |ms| (chrono::Utc::now() + chrono::TimeDelta::milliseconds(ms)).to_rfc3339();
            body = json!({"matchers": matcher, "startsAt": at(0), "endsAt": at(3_000), "createdBy": "x", "comment": "x"});
            path = "silences";
        }
        let posts = both.iter().map(|address| {
            let request =
                http::client().post(format!("http://{address}/api/v2/{path}")).json(&body);
            async move { http::text(request).await.expect("it is taken") }
        });
        futures::future::join_all(posts).await;
    }
    tokio::time::sleep(QUIET).await;
    let same = eventually("the same notifications", Duration::from_secs(5), async || {
        let (theirs, ours) = (notifications(&theirs), notifications(&ours));
        let keys = theirs.keys().chain(ours.keys());
        let differ: Vec<String> = keys
            .filter(|key| theirs.get(*key) != ours.get(*key))
            .map(|key| {
                format!("{key}\n theirs {:#?}\n ours   {:#?}", theirs.get(key), ours.get(key))
            })
            .collect();
        ensure(differ.is_empty(), || format!("{}\n{configuration}", differ.join("\n")))?;
        Ok(theirs.values().map(Vec::len).sum::<usize>())
    })
    .await;
    assert!(same >= 10, "only {same} notifications: the world is too small to show anything");
}
