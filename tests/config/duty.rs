//! Duties that call nobody: gaps, empty teams, names that are not defined, ways that a person does not have.

use super::{run, text};

/// Every line of what is wrong is here once.
const WRONG: &str = r#"alerting:
  smtp: {host: 127.0.0.1, from: watch@example.org}
  people:
    - name: alice
      email: alice@example.org
      notify:
        urgent: [{channel: webhook, after_seconds: 86401}]
    - name: bob
      email: bob@example.org
      notify:
        not_urgent: [{channel: email}]
  receivers:
    - {name: ops, email: ops@example.org}
  teams:
    - name: empty
      people: []
    - name: web
      people: [alice, carol]
  schedules:
    - name: office
      layers:
        - handoff: 0 9 * * mon
          start: 2026-01-05
          rotation: [alice, erin]
          restrictions:
            - {days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}
  escalations:
    - name: all
      repeat: 21
      steps:
        - targets: [{person: dave}, {team: night}, {schedule: nights}, {receiver: pager}]
          wait_seconds: 0
        - targets: []
      last_resort: [{receiver: nobody}]
  heartbeats:
    - {name: backup, interval_seconds: 0, escalation: none}
  pages:
    schedule: office
    escalation: all
    receivers: [ops, ops]
    rate_limit: {messages: 0, per_seconds: 86401}
"#;

#[test]
fn duties_that_call_nobody_are_refused_by_their_line() {
    let expected = [
        (
            "channel: webhook",
            "people[0].notify.urgent[0].channel",
            "webhook is not set: the person cannot be reached so",
        ),
        ("channel: webhook", "people[0].notify.urgent[0].after_seconds", "give 0 to 86400"),
        (
            "      notify:\n        not_urgent",
            "people[1].notify.urgent",
            "it is empty, but not_urgent is not",
        ),
        ("people: []", "teams[0].people", "the team is empty: name people"),
        (
            "people: [alice, carol]",
            "teams[1].people[1]",
            "person \"carol\" is not defined; defined: alice, bob",
        ),
        ("rotation:", "schedules[0].layers[0].rotation[1]", "person \"erin\" is not defined"),
        ("layers:", "schedules[0].layers", "nobody is on call from 2026-"),
        ("repeat:", "escalations[0].repeat", "give 0 to 20"),
        (
            "{person: dave}",
            "escalations[0].steps[0].targets[0].person",
            "person \"dave\" is not defined; defined: alice, bob",
        ),
        (
            "{team: night}",
            "escalations[0].steps[0].targets[1].team",
            "team \"night\" is not defined; defined: empty, web",
        ),
        (
            "{schedule: nights}",
            "escalations[0].steps[0].targets[2].schedule",
            "schedule \"nights\" is not defined; defined: office",
        ),
        (
            "{receiver: pager}",
            "escalations[0].steps[0].targets[3].receiver",
            "receiver \"pager\" is not defined; defined: ops",
        ),
        ("wait_seconds: 0", "escalations[0].steps[0].wait_seconds", "give 1 to 86400"),
        ("targets: []", "escalations[0].steps[1].targets", "give 1 to 50 targets"),
        (
            "{receiver: nobody}",
            "escalations[0].last_resort[0].receiver",
            "receiver \"nobody\" is not defined; defined: ops",
        ),
        ("{name: backup", "heartbeats[0].interval_seconds", "give 1 to 2678400"),
        (
            "{name: backup",
            "heartbeats[0].escalation",
            "escalation policy \"none\" is not defined; defined: all",
        ),
        (
            "escalation: all",
            "pages.escalation",
            "make the schedule a target of the policy's first step",
        ),
        (
            "receivers: [ops, ops]",
            "pages.receivers[1]",
            "receiver \"ops\" is named twice: it would be told twice",
        ),
        ("messages: 0", "pages.rate_limit.messages", "give 1 to 1000"),
        ("messages: 0", "pages.rate_limit.per_seconds", "give 1 to 86400"),
    ];
    let output = run(WRONG, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for (marker, path, part) in expected {
        let at = WRONG.find(marker).unwrap_or_else(|| panic!("no {marker} in the file"));
        let line = WRONG[..at].lines().count() + usize::from(WRONG[..at].ends_with('\n'));
        let begin = format!("watchkeep.yaml:{line}: alerting.{path}: ");
        let found = said.lines().any(|said| said.starts_with(&begin) && said.contains(part));
        assert!(found, "no {begin}… {part} in\n{said}");
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
}

#[test]
fn a_gap_that_calls_nobody_is_allowed() {
    let unused = "alerting:\n  smtp: {host: 127.0.0.1, from: watch@example.org}\n  people:\n    \
                  - {name: alice, email: alice@example.org}\n  schedules:\n    - name: office\n      layers:\n        \
                  - handoff: 0 9 * * mon\n          start: 2026-01-05\n          rotation: [alice]\n          \
                  restrictions: [{days: [mon], from: \"09:00\", to: \"17:00\"}]\n";
    let output = run(unused, &["check"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let used = format!("{unused}  pages: {{schedule: office}}\n");
    let refused = text(&run(&used, &["check"]).stderr);
    assert!(refused.contains("alerting.schedules[0].layers: nobody is on call from"), "{refused}");
}
