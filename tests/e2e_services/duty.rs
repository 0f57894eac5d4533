//! Duty by its commands, an escalation that goes through everybody, what is tried again and when, calendars, and overrides by
//! the console, over real processes.

use std::{fs, process::Command, time::Duration};

use chrono::{SecondsFormat, TimeDelta, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{
    Cluster, cluster::WATCHKEEP, eventually, http, mail::MailServer, receiver::Receiver,
    wait::ensure,
};

use super::oncall::{node, report};

const SOON: Duration = Duration::from_secs(30);

/// A command of this node; what it prints.
fn run(cluster: &Cluster, args: &[&str]) -> Result<String, String> {
    let output = Command::new(WATCHKEEP)
        .args(args)
        .env("WATCHKEEP_HTTP", cluster.nodes[0].url(""))
        .output()
        .expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[track_caller]
fn said(cluster: &Cluster, args: &[&str], parts: &[&str]) -> String {
    let said = run(cluster, args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
    for part in parts {
        assert!(said.contains(part), "{args:?}: no {part:?} in {said}");
    }
    said
}

async fn incident(cluster: &Cluster, id: &str) -> Value {
    http::get(&cluster.nodes[0].url(&format!("/v1/incidents/{id}"))).await.expect("the incident")
}

#[tokio::test]
async fn each_command_does_what_it_says() {
    let receiver = Receiver::start().await;
    let people = ["alice", "bob", "carol"];
    let person = |name: &&str| json!({"name": name, "webhook": receiver.url(&format!("/{name}"))});
    let schedule = |name: &str, person: &str| {
        json!({"name": name, "time_zone": "Europe/Berlin", "handoff": "0 9 * * mon", "start": "2026-01-05",
               "rotation": [person]})
    };
    let alerting = json!({
        "people": people.iter().map(person).collect::<Vec<_>>(),
        "schedules": [schedule("primary", "alice"), schedule("second", "carol")],
        "teams": [{"name": "dba", "people": ["bob", "carol"]}],
        "escalations": [{"name": "std", "steps": [{"targets": [{"schedule": "primary"}]}]}],
        "pages": {"escalation": "std"},
    });
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    cluster.alerting_leader().await;
    let cluster = &cluster;
    let at = |hours: i64| {
        (Utc::now() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true)
    };

    // Without a schedule's name, all of them.
    let all = said(cluster, &["oncall"], &["alice (primary)", "carol (second)"]);
    assert_eq!(all.lines().count(), 2, "{all}");
    let one = said(cluster, &["oncall", "who", "--schedule", "second"], &["carol (second)"]);
    assert_eq!(one.lines().count(), 1, "{one}");
    let (from, to) = (at(1), at(2));
    let span = ["--from", &from, "--to", &to];
    let words =
        ["oncall", "override", "primary", "--person", "bob", "--by", "alice", "--comment", "sick"];
    let refuse = |args: &[&str], part: &str| {
        let refused = run(cluster, args).expect_err("refused");
        assert!(refused.contains(part), "{args:?}: no {part:?} in {refused}");
    };
    // What would change nothing is refused.
    let past = ["--from", "2020-01-05T09:00:00Z", "--to", "2020-01-05T10:00:00Z"];
    refuse(
        &[&words[..], &past[..]].concat(),
        "it is over already, it ends at 2020-01-05 10:00:00 UTC",
    );
    let swap = ["oncall", "swap", "primary", "--by", "carol"];
    refuse(&[&swap[..], &span[..]].concat(), "carol has no shift by schedule primary");
    let made = said(cluster, &[&words[..], &span[..]].concat(), &["bob is on call"]);
    let id = made.split(':').next().expect("its id").to_owned();
    said(cluster, &["oncall", "changes", "primary"], &[&id, "bob is on call", "sick"]);
    let shown =
        said(cluster, &["oncall", "show", "primary"], &["FROM", "alice", "bob", &id, &from]);
    assert!(!shown.contains('.'), "no parts of a second: {shown}");
    said(cluster, &["oncall", "remove", "primary", &id], &["removed"]);
    let words = ["oncall", "swap", "primary", "--by", "alice"];
    let offered = said(cluster, &[&words[..], &span[..]].concat(), &["alice offers shifts"]);
    let id = offered.split(':').next().expect("its id").to_owned();
    let take = ["oncall", "swap", "primary", "--take", &id, "--by", "bob"];
    said(cluster, &take, &["bob takes alice's shifts"]);
    let refused = run(cluster, &take).expect_err("it is taken");
    assert!(refused.contains("was taken by bob already"), "{refused}");
    said(cluster, &["oncall", "--at", &from], &["bob (primary)"]);

    let open =
        ["incident", "open", "cellar under water", "--description", "40 cm", "--by", "carol"];
    let id = said(cluster, &open, &["cellar under water"]);
    let id = id.split(' ').next().expect("its id");
    said(cluster, &["incident", "list", "--status", "triggered"], &[id, "triggered"]);
    let call = receiver.wait("/alice", 1, SOON).await[0].json();
    assert_eq!(call["commonAnnotations"]["description"], "40 cm");
    let status = async |expected: &str| {
        assert_eq!(incident(cluster, id).await["status"], expected);
    };
    let by = ["--by", "alice"];
    let act = |words: &[&str], done: &str| said(cluster, &[words, &by[..]].concat(), &[done]);
    act(&["incident", "ack", id], "acknowledged by alice");
    status("acknowledged").await;
    act(&["incident", "unack", id], "given back");
    status("triggered").await;
    let say = |words: &[&str], part: &str| refuse(&[words, &by[..]].concat(), part);
    say(&["incident", "unack", id], "nobody has taken it, so it cannot be given back (409");
    say(&["incident", "snooze", id, "--minutes", "0"], "seconds: 0 is out of range");
    say(&["incident", "note", id, ""], "text: the note is empty (400");
    say(
        &["incident", "reassign", id, "--to", "mallory"],
        "person or team \"mallory\" is not defined; defined: alice, bob, carol, dba (400",
    );
    act(&["incident", "snooze", id, "--minutes", "5"], "snoozed");
    status("acknowledged").await;
    act(&["incident", "reassign", id, "--to", "bob"], "reassigned");
    receiver.wait("/bob", 1, SOON).await;
    act(&["incident", "add", id, "--to", "carol"], "help asked for");
    receiver.wait("/carol", 1, SOON).await;
    say(&["incident", "add", id, "--to", "carol"], "carol was asked for help already");
    act(&["incident", "add", id, "--to", "dba"], "help asked for");
    assert_eq!(incident(cluster, id).await["responders"], json!(["carol", "bob"]));
    act(&["incident", "note", id, "the pump is ordered"], "noted");
    act(&["incident", "resolve", id, "--text", "a pipe"], "resolved");
    status("resolved").await;
    said(
        cluster,
        &["incident", "show", id],
        &[
            "40 cm",
            "the pump is ordered",
            "resolved: a pipe",
            "firing (step-1)",
            "firing (help-",
            "resolved",
            "carol",
            "webhook",
        ],
    );
    said(cluster, &["incident", "report", id], &["# cellar under water", "40 cm", "## Causes"]);
    let refused = run(cluster, &["incident", "show", "absent"]).expect_err("there is none");
    assert!(refused.contains("absent"), "{refused}");
}

/// Nobody takes it: each step in its turn, a person's ways one after the other, again, and the last resort, once. Somebody
/// does: silence, until it is given back.
#[tokio::test]
async fn an_escalation_calls_everybody_in_turn_until_somebody_takes_it() {
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().expect("a folder"));
    let mails = MailServer::start(dir.path()).await;
    let hook = |name: &str| receiver.url(&format!("/{name}"));
    let alerting = json!({
        "smtp": {"host": "127.0.0.1", "port": mails.port, "from": "watch@example.org"},
        "people": [
            {"name": "alice", "webhook": hook("alice")},
            {"name": "bob", "webhook": hook("bob"), "email": "bob@example.org",
             "notify": {"urgent": [{"channel": "webhook"}, {"channel": "email", "after_seconds": 1}]}},
            {"name": "carol", "webhook": hook("carol")},
        ],
        "receivers": [{"name": "boss", "webhook": hook("boss")}],
        "teams": [{"name": "dba", "people": ["bob", "carol"]}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "escalations": [{
            "name": "std", "repeat": 1, "last_resort": [{"receiver": "boss"}],
            "steps": [{"targets": [{"schedule": "primary"}], "wait_seconds": 2},
                      {"targets": [{"team": "dba"}], "wait_seconds": 3}],
        }],
        "pages": {"escalation": "std", "dead_man_url": hook("alive")},
    });
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    cluster.alerting_leader().await;
    // All is well, and somebody outside hears so.
    receiver.wait("/alive", 1, SOON).await;
    let url = cluster.nodes[0].url("/v1/incidents");
    let report = async |title: &str| {
        let body = json!({"title": title, "severity": "critical"});
        let opened = eventually("an incident opens", SOON, async || http::post(&url, &body).await);
        opened.await["id"].as_str().expect("its id").to_owned()
    };
    report("nobody takes this").await;
    let last = receiver.wait("/boss", 1, SOON).await;
    let calls =
        |name: &str| receiver.at(name).into_iter().map(|request| request.at).collect::<Vec<_>>();
    let (alice, bob, carol) = (calls("/alice"), calls("/bob"), calls("/carol"));
    assert_eq!((alice.len(), bob.len(), carol.len()), (2, 2, 2));
    assert!(alice[0] < bob[0] && bob[0] < alice[1] && alice[1] < bob[1] && bob[1] < last[0].at);
    assert!(bob[0] - alice[0] >= Duration::from_secs(2) - Duration::from_millis(500));
    mails.wait(&["To: bob@example.org", "nobody takes this"], SOON).await;

    let id = report("somebody takes this").await;
    receiver.wait("/alice", 3, SOON).await;
    said(&cluster, &["incident", "ack", &id, "--by", "alice"], &["acknowledged"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((calls("/alice").len(), calls("/bob").len()), (3, 2), "nobody else is called");
    said(&cluster, &["incident", "unack", &id, "--by", "alice"], &["given back"]);
    // The last step again, and on from there.
    receiver.wait("/alice", 4, SOON).await;
    receiver.wait("/bob", 3, SOON).await;
    said(&cluster, &["incident", "resolve", &id, "--by", "bob"], &["resolved"]);
    eventually("whoever was called hears the end", SOON, async || {
        let is_over = |path: &str| {
            let bodies = receiver.at(path).into_iter().map(|request| request.json());
            let mut over = bodies.filter(|body| body["status"] == "resolved");
            over.any(|body| body["commonAnnotations"]["summary"] == "somebody takes this")
        };
        ensure(is_over("/alice") && is_over("/carol"), || "not yet".to_owned())
    })
    .await;
    let log = fs::read_to_string(cluster.nodes[0].log()).expect("a log");
    assert!(!log.contains("ERROR"), "{log}");
}

/// Whoever sets a person up wants to know whether they are reached, and why not.
#[tokio::test]
async fn a_test_message_says_what_came_of_it() {
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().expect("a folder"));
    let mails = MailServer::start(dir.path()).await;
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": mails.port, "from": "watch@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org", "webhook": receiver.url("/alice?token=x")},
                   {"name": "carol", "email": "carol@example.org"}],
        "receivers": [{"name": "ops", "webhook": "http://127.0.0.1:9/ops"}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let url = cluster.nodes[0].url("/v1/oncall/contacts/alice/test");
    let answer = http::post(&url, &json!({"by": "bob"})).await.expect("an answer");
    let way = |channel: &str, to: String| json!({"channel": channel, "to": to, "error": null});
    let hook = way("webhook", receiver.url("/alice?…"));
    let mail = way("email", "alice@example.org".to_owned());
    assert_eq!(answer, json!({"name": "alice", "ways": [hook, mail]}));
    let words = ["[TEST] this is how alice is told of incidents", "bob asked for this message"];
    mails.wait(&words, SOON).await;
    assert_eq!(receiver.at("/alice?token=x").len(), 1);
    let parts = ["email", "carol@example.org", "sent"];
    said(&cluster, &["oncall", "test", "carol", "--by", "bob"], &parts);
    let refused = run(&cluster, &["oncall", "test", "ops", "--by", "bob"]).expect_err("refused");
    assert!(refused.contains("ops: 1 of 1 ways do not work"), "{refused}");
    let absent = run(&cluster, &["oncall", "test", "mallory", "--by", "bob"]).expect_err("absent");
    assert!(absent.contains("\"mallory\" is not defined; defined: alice, carol, ops"), "{absent}");
    let all = http::get(&cluster.nodes[0].url("/v1/incidents")).await.expect("the incidents");
    assert_eq!(all["incidents"], json!([]));
}

/// What waits for its next try when somebody takes the incident is not tried again.
#[tokio::test]
async fn whoever_takes_it_ends_what_is_tried_in_vain() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/refused/500/alice")}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    let opened = report(node, json!({"title": "cellar under water"})).await;
    let id = opened["id"].as_str().expect("its id").to_owned();
    eventually("it is tried in vain", SOON, async || {
        let attempts = incident(&cluster, &id).await["pages"][0]["attempts"].as_u64();
        ensure(attempts >= Some(3), || format!("{attempts:?} attempts"))
    })
    .await;
    let taken = json!({"action": "acknowledge", "by": "alice"});
    http::post(&node.url(&format!("/v1/incidents/{id}")), &taken).await.expect("taken");
    let tried = receiver.at("/refused/500/alice").len();
    assert_eq!(incident(&cluster, &id).await["pages"][0]["state"], "cancelled");
    // The pause behind the third or fourth try is below four seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(receiver.at("/refused/500/alice").len(), tried);
}

/// Whoever says when to come again is not asked before.
#[tokio::test]
async fn a_receiver_that_has_enough_says_when_to_come_again() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/refused/429/alice")}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    report(&cluster.nodes[0], json!({"title": "cellar under water"})).await;
    let asked = receiver.wait("/refused/429/alice", 2, SOON).await;
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(3_900));
}

/// A calendar that is fetched again has the same shifts under the same names.
#[tokio::test]
async fn a_calendar_knows_its_shifts_again() {
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": "http://127.0.0.1:1/"},
                   {"name": "bob", "webhook": "http://127.0.0.1:1/"}],
        "schedules": [{"name": "primary", "time_zone": "Europe/Berlin", "handoff": "0 9 * * mon",
                       "start": "2026-01-05", "rotation": ["alice", "bob"]}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let url = cluster.nodes[0].url("/v1/oncall/schedules/primary/calendar.ics");
    let shifts = async || {
        let calendar = http::text(http::client().get(&url)).await.expect("a calendar");
        let lines = calendar.lines().filter(|line| !line.starts_with("DTSTAMP"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = shifts().await;
    assert!(first.iter().filter(|line| line.starts_with("UID:")).count() > 20, "{first:?}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(shifts().await, first);
}

#[tokio::test]
async fn the_console_takes_an_override_by_the_schedules_clock_and_takes_it_back() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice")},
                   {"name": "bob", "webhook": receiver.url("/bob")}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    let press = async |path: &str, fields: &[(&str, &str)]| {
        let answer = http::send(http::client().post(node.url(path)).form(fields)).await;
        let answer = answer.expect("an answer");
        (answer.0, answer.1)
    };
    let fields = |person: &'static str, from: &'static str| {
        [
            ("person", person),
            ("from", from),
            ("to", "2090-12-25T12:00"),
            ("by", "alice"),
            ("comment", "Christmas"),
        ]
    };
    let path = "/oncall/primary/changes";
    for (person, from, part) in [
        ("mallory", "2090-12-24T12:00", "person \\\"mallory\\\" is not defined"),
        ("bob", "2090-12-25T12:00", "give a later end"),
        ("bob", "tomorrow", "as the clock of Europe/Berlin shows it"),
    ] {
        let (status, said) = press(path, &fields(person, from)).await;
        assert!(status == StatusCode::BAD_REQUEST && said.contains(part), "{status}: {said}");
    }
    // It goes back to the page, which shows it.
    let (status, page) = press(path, &fields("bob", "2090-12-24T12:00")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for part in ["bob is on call", "2090-12-24 12:00 CET", "Christmas", "Take back"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let changes = async || {
        let url = node.url("/v1/oncall/schedules/primary/changes");
        http::get(&url).await.expect("the changes")["changes"].clone()
    };
    let known = changes().await;
    assert_eq!(known[0]["from"], "2090-12-24T11:00:00Z");
    let remove = format!("{path}/{}/remove", known[0]["id"].as_str().expect("its id"));
    let (status, page) = press(&remove, &[]).await;
    assert!(status == StatusCode::OK && !page.contains("Take back"), "{page}");
    assert_eq!(changes().await, json!([]));
}
