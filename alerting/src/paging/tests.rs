//! Who would have been told, by duty and by routes.

use serde_json::json;

use super::*;
use crate::fixtures::time;

fn config(pages: serde_json::Value) -> AlertingConfig {
    serde_json::from_value(json!({
        "smtp": {"host": "127.0.0.1", "from": "watchkeep@example.org"},
        "people": [
            {"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:1/alice",
             "notify": {"urgent": [{"channel": "email"}, {"channel": "webhook", "after_seconds": 120}],
                        "not_urgent": [{"channel": "email"}]}},
            {"name": "bob", "email": "bob@example.org"},
        ],
        "receivers": [{"name": "ops", "webhook": "http://127.0.0.1:1/ops"}],
        "teams": [{"name": "all", "people": ["alice", "bob"]}],
        "schedules": [
            {"name": "primary", "handoff": "0 0 9 * * mon", "start": "2026-01-05", "rotation": ["bob", "alice"]},
            {"name": "nights", "layers": [{"every": {"days": 1}, "start": "2026-01-05", "rotation": ["bob"],
             "restrictions": [{"from": "22:00", "to": "06:00"}]}]},
        ],
        "escalations": [
            {"name": "db", "steps": [{"targets": [{"schedule": "primary"}], "wait_seconds": 300},
                                     {"targets": [{"team": "all"}], "wait_seconds": 300}],
             "last_resort": [{"receiver": "ops"}]},
            {"name": "night", "steps": [{"targets": [{"schedule": "nights"}]}]},
            {"name": "turns", "steps": [{"targets": [{"person": "alice"}, {"person": "bob"}], "round_robin": true}]},
        ],
        "pages": pages,
    }))
    .expect("settings")
}

fn alert(name: &str, severity: &str, fired: i64, ended: Option<i64>) -> PastAlert {
    let labels = [("alertname", name), ("severity", severity)];
    PastAlert {
        labels: labels.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        annotations: BTreeMap::new(),
        active_at: time(fired),
        fired_at: time(fired),
        ended_at: ended.map(time),
    }
}

/// `alice email 0, ops webhook 30 resolved`: seconds behind the begin of the tests' time.
fn words(outcome: &Outcome) -> String {
    let word = |told: &Told| {
        let seconds = (told.at - time(0)).num_seconds();
        let over = if told.resolved { " resolved" } else { "" };
        format!("{} {} {seconds}{over}", told.whom, told.way)
    };
    match &outcome.nobody {
        Some(why) => format!("nobody: {why}"),
        None => outcome.told.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}

fn told(paging: &Paging, alerts: &[PastAlert], until: i64) -> Vec<String> {
    paging.tell(alerts, time(until)).expect("told").iter().map(words).collect()
}

#[test]
fn duty_says_who() {
    for (pages, severity, ended, expected) in [
        (
            json!({}),
            "page",
            None,
            "nobody: pages.escalation, pages.schedule and pages.receivers are not set",
        ),
        (json!({"receivers": ["ops"]}), "page", Some(60), "ops webhook 0, ops webhook 60 resolved"),
        // Alice is on call since nine; the second way comes only where it is still firing.
        (json!({"schedule": "primary"}), "page", None, "alice email 0, alice webhook 120"),
        (
            json!({"schedule": "primary"}),
            "page",
            Some(60),
            "alice email 0, alice email 60 resolved",
        ),
        (
            json!({"schedule": "primary"}),
            "info",
            Some(300),
            "alice email 0, alice email 300 resolved",
        ),
        (
            json!({"schedule": "nights"}),
            "page",
            None,
            "nobody: nobody is on call by schedule nights",
        ),
        (
            json!({"escalation": "night"}),
            "page",
            None,
            "nobody: escalation night, step 1: nobody is on call (schedule nights)",
        ),
        (
            json!({"escalation": "db", "receivers": ["ops"]}),
            "info",
            Some(400),
            "ops webhook 0, alice email 0, alice email 300, bob email 300, \
             ops webhook 400 resolved, alice email 400 resolved, bob email 400 resolved",
        ),
        (
            json!({"escalation": "db"}),
            "info",
            None,
            "alice email 0, alice email 300, bob email 300, ops webhook 600",
        ),
    ] {
        let paging = Paging::new(&config(pages.clone()), None, "").expect("valid");
        assert_eq!(told(&paging, &[alert("A", severity, 0, ended)], 3_600), [expected], "{pages}");
    }
}

#[test]
fn turns_go_round_in_the_order_of_time() {
    let paging = Paging::new(&config(json!({"escalation": "turns"})), None, "").expect("valid");
    let alerts = [alert("A", "info", 20, None), alert("B", "info", 10, None)];
    assert_eq!(told(&paging, &alerts, 60), ["bob email 20", "alice email 10"]);
}

/// Somebody had taken over the day.
#[test]
fn changes_of_schedules_count() {
    let mut paging = Paging::new(&config(json!({"schedule": "primary"})), None, "").expect("valid");
    let change = json!({"id": "override-1", "schedule": "primary", "from": time(0), "to": time(3_600),
        "kind": "override", "person": "bob", "by": "alice", "decided_at": time(0)});
    paging.change(serde_json::from_value(change).expect("a change"));
    let alerts = [alert("A", "info", 10, None), alert("A", "info", 3_700, None)];
    assert_eq!(told(&paging, &alerts, 4_000), ["bob email 10", "alice email 3700"]);
}

const ROUTES: &str = r#"
route:
  receiver: chat
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  routes:
  - {matchers: [alertname="Duty"], receiver: duty, group_wait: 0s}
  - {matchers: [alertname="Null"], receiver: none}
  - {matchers: [alertname="Muted"], mute_time_intervals: [always]}
inhibit_rules: [{source_matchers: [alertname="Source"], target_matchers: [alertname="Target"]}]
time_intervals: [{name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]
receivers:
- {name: chat, webhook_configs: [{url: "http://127.0.0.1:1/"}]}
- {name: duty, oncall_configs: [{policy: db}]}
- {name: none}
"#;

fn routed() -> Paging {
    let routes: AlertmanagerConfig = serde_saphyr::from_str(ROUTES).expect("YAML");
    Paging::new(&config(json!({})), Some(routes), "http://w").expect("valid")
}

#[test]
fn routes_say_who() {
    for (name, fired, ended, expected) in [
        ("A", 0, None, "chat webhook 30"),
        ("A", 0, Some(100), "chat webhook 30, chat webhook 330 resolved"),
        ("A", 0, Some(10), "nobody: it was over before its group looked (group_wait 30s)"),
        ("A", 3_590, None, "nobody: its group has not looked yet (group_wait 30s)"),
        (
            "Duty",
            0,
            Some(310),
            "alice email 0, alice webhook 120, alice email 300, bob email 300, alice webhook 420",
        ),
        ("Null", 0, None, "nobody: receiver none has no integrations"),
        ("Muted", 0, None, "nobody: muted by time interval always"),
    ] {
        let found = told(&routed(), &[alert(name, "page", fired, ended)], 3_600);
        let found = &found[0];
        assert!(found.starts_with(expected), "{name} {ended:?}: {found}");
    }
}

#[test]
fn what_is_kept_quiet_says_by_what() {
    let mut paging = routed();
    let silence = json!({"id": "s1", "matchers": [{"name": "alertname", "value": "Quiet"}],
        "starts_at": time(0), "ends_at": time(100_000), "updated_at": time(0), "created_by": "a", "comment": "c"});
    paging.silence(serde_json::from_value(silence).expect("a silence"));
    let alerts = ["Quiet", "Source", "Target"].map(|name| alert(name, "page", 0, None));
    let found = told(&paging, &alerts, 3_600);
    assert_eq!(found[0], "nobody: silence s1");
    assert_eq!(found[1], "chat webhook 30");
    assert!(found[2].starts_with("nobody: inhibited by"), "{}", found[2]);
}

/// A group's incident is one, and its second alert calls nobody anew; it fires again, and is told of again.
#[test]
fn a_group_is_told_of_together() {
    let of = |instance: &str, fired, ended| {
        let mut one = alert("Duty", "info", fired, ended);
        one.labels.insert("instance".to_owned(), instance.to_owned());
        one
    };
    let alerts = [of("1", 0, Some(350)), of("2", 10, Some(400)), of("1", 1_000, None)];
    let found = told(&routed(), &alerts, 1_100);
    let first = "alice email 0, alice email 300, bob email 300, alice email 600 resolved, bob email 600 resolved";
    assert_eq!(found[0], first);
    assert_eq!(found[1], "nobody: the incident of its group is open already");
    assert_eq!(found[2], "alice email 1000");
}
