//! The example of the documentation, and a table of what is refused.

use serde_json::{Value, json};

use super::*;

fn example() -> Value {
    json!({
        "lease_ttl_seconds": 3,
        "drain_retention_hours": 720,
        "smtp": {"host": "127.0.0.1", "port": 25, "tls": "none", "from": "Watchkeep <watchkeep@example.org>"},
        "people": [
            {"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:9/alice"},
            {"name": "bob", "email": "bob@example.org"},
        ],
        "receivers": [
            {"name": "ops-hook", "webhook": "https://hooks.example.org/x"},
            {"name": "dba-mail", "email": "dba@example.org"},
        ],
        "schedules": [{"name": "primary", "time_zone": "Europe/Berlin", "handoff": "0 0 9 * * Mon *",
                       "start": "2026-01-05", "rotation": ["alice", "bob"]}],
        "pages": {"schedule": "primary", "receivers": ["ops-hook"]},
        "failover": [{"name": "db", "when": {"service": "db", "role": "primary", "status": "critical"},
                      "callback": {"url": "http://127.0.0.1:9/failover", "timeout_ms": 2000,
                                   "attempts_max": 10, "backoff_ms": 200}}],
    })
}

#[test]
fn the_example_is_valid_and_nothing_at_all_too() {
    let config: AlertingConfig = serde_json::from_value(example()).unwrap();
    assert_eq!(config.validate(), Ok(()));
    let config: AlertingConfig = serde_json::from_value(json!({})).unwrap();
    assert_eq!(config, AlertingConfig::default());
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn says_where_and_what_is_wrong() {
    for (at, value, path, part) in [
        ("/lease_ttl_seconds", json!(1), "lease_ttl_seconds", "give 2 to 60"),
        ("/drain_retention_hours", json!(9_000), "drain_retention_hours", "give 0 to 8760"),
        (
            "/pages/receivers/0",
            json!("dba"),
            "pages.receivers[0]",
            "receiver \"dba\" is not defined; defined: ops-hook, dba-mail",
        ),
        ("/pages/receivers", json!(["ops-hook", "ops-hook"]), "pages.receivers[1]", "named twice"),
        (
            "/pages/schedule",
            json!("nights"),
            "pages.schedule",
            "schedule \"nights\" is not defined; defined: primary",
        ),
        (
            "/schedules/0/rotation/1",
            json!("carol"),
            "schedules[0].rotation[1]",
            "person \"carol\" is not defined; defined: alice, bob",
        ),
        ("/schedules/0/rotation", json!([]), "schedules[0].rotation", "0 people"),
        (
            "/schedules/0/handoff",
            json!("0 61 9 * * Mon"),
            "schedules[0].handoff",
            "such as \"0 0 9 * * Mon\"",
        ),
        ("/schedules/0/time_zone", json!("Berlin"), "schedules[0].time_zone", "IANA"),
        ("/people/1/name", json!("alice"), "people[1].name", "defined twice"),
        ("/receivers/1/name", json!("alice"), "receivers[1].name", "defined twice"),
        ("/people/1/name", json!("b/b"), "people[1].name", "not allowed"),
        ("/people/1/email", json!("bob"), "people[1].email", "name@example.org"),
        ("/people/1/email", Value::Null, "people[1]", "cannot be reached"),
        (
            "/receivers/0/webhook",
            json!("hooks.example.org"),
            "receivers[0].webhook",
            "http://host:port/path",
        ),
        (
            "/receivers/0/webhook",
            json!("ftp://hooks.example.org"),
            "receivers[0].webhook",
            "http or https",
        ),
        ("/receivers/0/webhook", json!("http://me:pw@h"), "receivers[0].webhook", "secret_file"),
        (
            "/receivers/0/secret_file",
            json!("/nonexistent/s"),
            "receivers[0].secret_file",
            "cannot read /nonexistent/s",
        ),
        (
            "/receivers/0/secret_next_file",
            json!("/nonexistent/s"),
            "receivers[0].secret_next_file",
            "cannot read /nonexistent/s",
        ),
        ("/smtp/from", json!("watchkeep"), "smtp.from", "name@example.org"),
        ("/smtp/host", json!(""), "smtp.host", "give a name"),
        ("/smtp/username", json!("u"), "smtp.username", "set both or neither"),
        ("/smtp/ca_file", json!("/nonexistent/ca"), "smtp.ca_file", "of no use with tls: none"),
        ("/failover/0/when", json!({}), "failover[0].when", "match every instance"),
        ("/failover/0/when/status", json!("passing"), "failover[0].when.status", "write critical"),
        ("/failover/0/callback/url", json!("http://"), "failover[0].callback.url", "is not a URL"),
        (
            "/failover/0/callback/secret_file",
            json!("/"),
            "failover[0].callback.secret_file",
            "cannot read /",
        ),
        (
            "/failover/0/callback/timeout_ms",
            json!(1),
            "failover[0].callback.timeout_ms",
            "10 to 60000",
        ),
        (
            "/failover/0/callback/attempts_max",
            json!(0),
            "failover[0].callback.attempts_max",
            "1 to 100",
        ),
        (
            "/failover/0/callback/backoff_ms",
            json!(60_000),
            "failover[0].callback.backoff_ms",
            "10 to 30000",
        ),
    ] {
        let mut settings = example();
        let (parent, field) = at.rsplit_once('/').unwrap();
        let parent = settings.pointer_mut(parent).unwrap();
        match field.parse::<usize>() {
            Ok(number) => parent[number] = value,
            Err(_) => parent[field] = value,
        }
        let config: AlertingConfig = serde_json::from_value(settings).unwrap();
        let found = config.validate().unwrap_err();
        let first = &found[0];
        assert_eq!(first.path, path, "{found:?}");
        assert!(first.message.contains(part), "{found:?}");
    }
}

#[test]
fn mail_needs_a_server() {
    let mut settings = example();
    settings.as_object_mut().unwrap().remove("smtp");
    let config: AlertingConfig = serde_json::from_value(settings).unwrap();
    let found = config.validate().unwrap_err();
    let paths: Vec<_> = found.iter().map(|invalid| invalid.path.as_str()).collect();
    assert_eq!(paths, ["people[0].email", "people[1].email", "receivers[1].email"]);
    assert!(found[0].message.contains("set smtp"));
}

/// The example's duty, read and written as the binary does it.
#[test]
fn the_example_survives_being_printed() {
    #[derive(serde::Deserialize)]
    struct File {
        alerting: AlertingConfig,
    }
    let example = include_str!("../../../watchkeep.example.yaml");
    let file: File = serde_saphyr::from_str(example).unwrap();
    assert_eq!(file.alerting.validate(), Ok(()));
    assert_eq!(file.alerting.escalations[0].steps.len(), 2);
    let printed = serde_saphyr::to_string(&file.alerting).unwrap();
    let again: AlertingConfig =
        serde_saphyr::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    assert_eq!(again, file.alerting);
}

/// A policy with steps, as it should be.
fn policy() -> Value {
    json!({"name": "p", "when": {"service": "db"}, "mode": "automatic",
    "guards": {"minimum_healthy": 1, "time_windows": [{"days": ["mon"], "from": "09:00", "to": "17:00"}]},
    "steps": [
        {"choose": {}},
        {"callback": {"url": "http://127.0.0.1:9/", "expect": {"status": [200], "body": "ok"}}},
        {"promote": {}},
        {"verify": {"verdict": {}}, "on_failure": "next_candidate"},
        {"scale": {"add": 1, "callback": {"url": "http://127.0.0.1:9/"}}},
    ]})
}

#[test]
fn says_what_is_wrong_with_a_failover_policy() {
    let validate = |policy: Value| {
        let mut config = example();
        config["failover"] = json!([policy]);
        let config: AlertingConfig = serde_json::from_value(config).unwrap();
        config.validate()
    };
    assert_eq!(validate(policy()), Ok(()));
    for (at, value, path, part) in [
        ("/when", json!({}), "when", "it would match every instance"),
        ("/when", json!({"alert": ["a=\"b\""], "service": "db"}), "", ""),
        ("/when", json!({"alert": ["a"]}), "when.alert[0]", "a"),
        ("/when", json!({"burn_rate": {"above": 14.4}}), "when.burn_rate", "set when.service"),
        (
            "/when",
            json!({"service": "db", "burn_rate": {"above": 0.0, "window": "x"}}),
            "when.burn_rate.above",
            "above 0",
        ),
        ("/steps", json!([]), "", "it does nothing"),
        ("/callback", json!({"url": "http://h/"}), "callback", "make it one of them"),
        ("/confirm_seconds", json!(100_000), "confirm_seconds", "0 to 86400"),
        ("/approval_seconds", json!(1), "approval_seconds", "30 to 86400"),
        ("/guards/quorum", json!(0), "guards.quorum", "give 1 or more"),
        ("/guards/maximum_share_percent", json!(101), "guards.maximum_share_percent", "1 to 100"),
        ("/guards/time_zone", json!("Mars"), "guards.time_zone", "Europe/Berlin"),
        ("/guards/time_windows", json!([{"days": ["x"]}]), "guards.time_windows[0]", "day \"x\""),
        ("/name", json!("n".repeat(91)), "name", "91 bytes"),
        ("/when", json!({"service": "a/b"}), "when.service", "not allowed"),
        (
            "/when",
            json!({"alert": ["a=\"b\""], "role": "primary"}),
            "when.role",
            "label of the alert",
        ),
        (
            "/when",
            json!({"service": "db", "tag": "x", "burn_rate": {"above": 1.0}}),
            "when.tag",
            "have none",
        ),
        (
            "/when",
            json!({"service": "db", "burn_rate": {"above": 1.0, "window": "0"}}),
            "when.burn_rate.window",
            "like 1h",
        ),
        ("/guards/cooldown_seconds", json!(7_776_001), "guards.cooldown_seconds", "0 to 7776000"),
        ("/steps/0/name", json!("before"), "steps[0].name", "another name"),
        ("/steps/0/name", json!("undo-it"), "steps[0].name", "another name"),
        ("/steps", json!([{"drain": {"instance": "a/b"}}]), "steps[0].drain.instance", "allowed"),
        (
            "/steps",
            json!([{"wait": {"verdict": {"instance": "", "service": "x"}}}]),
            "steps[0].wait.verdict.instance",
            "not allowed",
        ),
        ("/steps/0", json!({}), "steps[0]", "it does 0 things"),
        ("/steps/0", json!({"drain": {}, "promote": {}}), "steps[0]", "it does 2 things"),
        ("/steps/1/name", json!("promote"), "steps[2].name", "is there twice"),
        ("/steps/1/callback/expect/body", json!("("), "steps[1].callback.expect.body", "regular"),
        ("/steps/1/callback/expect/status", json!([99]), "steps[1].callback.expect.status", "99"),
        ("/steps/3", json!({"verify": {}}), "steps[3].verify", "promql or verdict"),
        ("/steps/2/promote/demote_to", json!("primary"), "steps[2].promote.demote_to", "itself"),
        ("/steps/4/scale/to", json!(3), "steps[4].scale", "to or add"),
        (
            "/steps/4",
            json!({"script": {"command": "x"}}),
            "steps[4].script.command",
            "failover_scripts.dir",
        ),
        (
            "/steps",
            json!([{"verify": {"verdict": {}}, "on_failure": "next_candidate"}]),
            "steps[0].on_failure",
            "no choose or promote step",
        ),
        (
            "/steps",
            json!([{"drain": {"instance": "candidate"}}]),
            "steps[0].drain.instance",
            "no choose",
        ),
    ] {
        let mut changed = policy();
        let (parent, name) = at.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value.clone(),
            other => other[name] = value.clone(),
        }
        if part.is_empty() {
            assert_eq!(validate(changed), Ok(()), "{at}");
            continue;
        }
        let found = validate(changed).unwrap_err();
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("failover[0]{dot}{path}");
        let fits = found.iter().any(|i| i.path == path && i.message.contains(part));
        assert!(fits, "{at} {value}: {found:?}");
    }
}
