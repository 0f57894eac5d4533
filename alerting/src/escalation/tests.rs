//! Simulated time: a policy of two steps and a last resort, twenty minutes at a second's pace.

use proptest::prelude::*;
use watchkeep_catalog::PageState;

use super::*;
use crate::{
    fixtures::time,
    incident::{Action, Finding, act, opened},
};

fn rules() -> Rules {
    let config: crate::AlertingConfig = serde_json::from_value(serde_json::json!({
        "smtp": {"host": "127.0.0.1", "from": "watchkeep@example.org"},
        "people": [
            {"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:1/alice",
             "notify": {"urgent": [{"channel": "webhook"}, {"channel": "email", "after_seconds": 120}],
                        "not_urgent": [{"channel": "email"}]}},
            {"name": "bob", "email": "bob@example.org"},
            {"name": "carol", "email": "carol@example.org"},
        ],
        "receivers": [{"name": "boss", "webhook": "http://127.0.0.1:1/boss"}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05",
                       "rotation": ["bob", "alice"]}],
        "teams": [{"name": "dba", "people": ["bob", "carol"]}],
        "escalations": [{
            "name": "db", "repeat": 1,
            "steps": [
                {"targets": [{"schedule": "primary"}], "wait_seconds": 300},
                {"targets": [{"team": "dba"}], "wait_seconds": 180},
            ],
            "last_resort": [{"receiver": "boss"}],
        }, {
            "name": "lonely", "repeat": 1, "steps": [{"targets": [{"schedule": "primary"}], "wait_seconds": 300}],
        }, {
            "name": "turns",
            "steps": [{"targets": [{"team": "dba"}, {"person": "alice"}], "round_robin": true}],
        }],
        "pages": {"escalation": "db"},
    }))
    .expect("settings");
    config.validate().expect("valid settings");
    Rules::new(&config).expect("valid schedules")
}

fn incident(rules: &Rules, policy: Option<&str>, severity: &str) -> Incident {
    let finding = Finding {
        dedup_key: "k".to_owned(),
        title: "it burns".to_owned(),
        alert: "Fire".to_owned(),
        severity: severity.to_owned(),
        labels: BTreeMap::new(),
        details: BTreeMap::new(),
        source: "api".to_owned(),
        escalation: policy.map(str::to_owned),
        started_at: time(0),
    };
    opened(&finding, rules, time(0))
}

/// The world: every second what is due is done, and what is to be sent is sent. Says who was called when, in seconds.
fn run(
    incident: &mut Incident,
    rules: &Rules,
    seconds: std::ops::Range<i64>,
    mut also: impl FnMut(&mut Incident, i64),
) -> Vec<(i64, String)> {
    let (mut robin, mut calls) = (RoundRobin::default(), Vec::new());
    for second in seconds {
        also(incident, second);
        let due = wake(incident).is_some_and(|at| at <= time(second));
        let changed = advance(incident, rules, &mut robin, time(second));
        // Nothing happens for which nobody was to be woken.
        assert!(!changed || due, "{second}");
        let next: Vec<String> = incident::next_pages(incident, time(second))
            .into_iter()
            .map(|page| page.id.clone())
            .collect();
        for id in next {
            let page = incident.pages.iter_mut().find(|page| page.id == id).unwrap();
            page.state = PageState::Delivered;
            calls.push((second, format!("{} {}", page.receiver, page.channel)));
        }
    }
    calls
}

fn said(calls: &[(i64, &str)]) -> Vec<(i64, String)> {
    calls.iter().map(|(second, call)| (*second, (*call).to_owned())).collect()
}

const NOBODY: [(i64, &str); 9] = [
    (0, "alice webhook"),
    (120, "alice email"),
    (300, "bob email"),
    (300, "carol email"),
    (480, "alice webhook"),
    (600, "alice email"),
    (780, "bob email"),
    (780, "carol email"),
    (960, "boss webhook"),
];

#[test]
fn nobody_acknowledges_every_step_at_its_minute() {
    let rules = rules();
    let mut incident = incident(&rules, None, "critical");
    assert_eq!(incident.on_call.as_deref(), Some("alice"));
    assert_eq!(run(&mut incident, &rules, 0..3_000, |_, _| {}), said(&NOBODY));
    let lines: Vec<_> = incident.timeline.iter().map(|note| note.text.as_str()).collect();
    assert!(lines.contains(&"escalation db, step 2, round 2: calling bob, carol"), "{lines:#?}");
    assert!(lines.contains(&"escalation db, last resort: calling boss"), "{lines:#?}");
    assert_eq!(wake(&incident), None);
}

#[test]
fn whoever_is_called_again_within_a_second_is_called() {
    let rules = rules();
    let by = || "carol".to_owned();
    for again in [
        vec![Action::Acknowledge { by: by() }, Action::Unacknowledge { by: by() }],
        vec![
            Action::Reassign { by: by(), to: vec!["carol".to_owned()], escalation: None },
            Action::Reassign { by: by(), to: vec!["bob".to_owned()], escalation: None },
        ],
    ] {
        let mut incident = incident(&rules, None, "critical");
        let first = Action::Reassign { by: by(), to: vec!["bob".to_owned()], escalation: None };
        for action in [first].iter().chain(&again) {
            act(&mut incident, action, &rules, time(5)).unwrap();
        }
        let calls = run(&mut incident, &rules, 5..10, |_, _| {});
        assert_eq!(calls, said(&[(5, "bob email")]), "{again:?}");
    }
}

#[test]
fn what_is_not_urgent_is_told_otherwise() {
    let rules = rules();
    let mut incident = incident(&rules, None, "warning");
    let calls = run(&mut incident, &rules, 0..299, |_, _| {});
    assert_eq!(calls, said(&[(0, "alice email")]));
}

#[test]
fn given_back_it_goes_on() {
    let rules = rules();
    let mut incident = incident(&rules, None, "critical");
    let by = || "bob".to_owned();
    let calls = run(&mut incident, &rules, 0..2_000, |incident, second| {
        let action = match second {
            310 => Action::Acknowledge { by: by() },
            1_000 => Action::Unacknowledge { by: by() },
            _ => return,
        };
        assert!(act(incident, &action, &rules, time(second)).unwrap());
    });
    let expected = [
        &NOBODY[..4],
        // The step that was taken last again, and on from there.
        &[(1_000, "bob email"), (1_000, "carol email"), (1_180, "alice webhook")],
        &[
            (1_300, "alice email"),
            (1_480, "bob email"),
            (1_480, "carol email"),
            (1_660, "boss webhook"),
        ],
    ]
    .concat();
    assert_eq!(calls, said(&expected));
}

#[test]
fn a_snooze_ends() {
    let rules = rules();
    let mut incident = incident(&rules, None, "critical");
    let calls = run(&mut incident, &rules, 0..900, |incident, second| {
        if second == 60 {
            let action = Action::Snooze { by: "alice".to_owned(), seconds: Some(600), until: None };
            assert!(act(incident, &action, &rules, time(second)).unwrap());
        }
    });
    assert_eq!(calls, said(&[(0, "alice webhook"), (660, "alice webhook"), (780, "alice email")]));
    assert_eq!(incident.status, IncidentStatus::Triggered);
}

#[test]
fn reassigned_and_helped() {
    let rules = rules();
    let mut incident = incident(&rules, None, "critical");
    let calls = run(&mut incident, &rules, 0..900, |incident, second| {
        let (by, to) = ("alice".to_owned(), vec!["carol".to_owned()]);
        let action = match second {
            10 => Action::AddResponder { by, to },
            60 => Action::Reassign { by, to: vec!["bob".to_owned()], escalation: None },
            _ => return,
        };
        assert!(act(incident, &action, &rules, time(second)).unwrap());
    });
    // From then on it is bob's alone.
    assert_eq!(calls, said(&[(0, "alice webhook"), (10, "carol email"), (60, "bob email")]));
    assert_eq!(
        (&*incident.responders, &*incident.assigned),
        (&["carol".to_owned()][..], &["bob".to_owned()][..])
    );
    let action = Action::Reassign {
        by: "bob".to_owned(),
        to: Vec::new(),
        escalation: Some("nope".to_owned()),
    };
    let refusal = act(&mut incident, &action, &rules, time(901)).unwrap_err().to_string();
    assert_eq!(refusal, "escalation policy \"nope\" is not defined; defined: db, lonely, turns");
}

/// Rounds in which nobody is on call do not pass in an instant.
#[test]
fn whoever_comes_on_call_between_two_rounds_is_called() {
    let mut rules = rules();
    let vacant = watchkeep_catalog::ScheduleChange {
        id: "vacant".to_owned(),
        schedule: "primary".to_owned(),
        from: time(0),
        to: time(200),
        change: watchkeep_catalog::ChangeKind::Temporary { shifts: Vec::new() },
        by: "alice".to_owned(),
        decided_at: time(0),
        comment: String::new(),
    };
    crate::oncall::put_change(&mut rules.changes, vacant);
    let mut incident = incident(&rules, Some("lonely"), "critical");
    let calls = run(&mut incident, &rules, 0..400, |_, _| {});
    assert_eq!(calls, said(&[(300, "alice webhook")]));
}

/// Whose turn it was is called again, and nobody else: who gave it back, or snoozed it, does not hand it on.
#[test]
fn given_back_it_is_the_same_persons_turn() {
    let (rules, mut robin) = (rules(), RoundRobin::default());
    let mut incident = incident(&rules, Some("turns"), "critical");
    advance(&mut incident, &rules, &mut robin, time(0));
    for second in [10, 20] {
        let snooze = Action::Snooze { by: "bob".to_owned(), seconds: Some(5), until: None };
        act(&mut incident, &snooze, &rules, time(second)).unwrap();
        assert!(advance(&mut incident, &rules, &mut robin, time(second + 5)));
    }
    let called: Vec<_> = incident.pages.iter().map(|page| page.receiver.as_str()).collect();
    assert_eq!(called, ["bob", "bob", "bob"]);
    assert_eq!(incident.on_call.as_deref(), Some("bob"));
    // A step that was never taken is nobody's turn yet.
    let mut first = self::incident(&rules, Some("turns"), "critical");
    let take = |by: &str| Action::Acknowledge { by: by.to_owned() };
    act(&mut first, &take("bob"), &rules, time(0)).unwrap();
    let back = Action::Unacknowledge { by: "bob".to_owned() };
    act(&mut first, &back, &rules, time(1)).unwrap();
    advance(&mut first, &rules, &mut robin, time(1));
    assert_eq!(first.pages[0].receiver, "carol");
    assert_eq!(first.on_call.as_deref(), Some("carol"));
}

/// Words of a team mean its people; what says nothing new is refused, and what makes no sense is another refusal.
#[test]
fn teams_are_called_and_nonsense_is_named() {
    let rules = rules();
    let mut incident = incident(&rules, None, "critical");
    let by = || "alice".to_owned();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let help = Action::AddResponder { by: by(), to: names(&["dba", "carol"]) };
    assert!(act(&mut incident, &help, &rules, time(1)).unwrap());
    assert_eq!(incident.responders, ["bob", "carol"]);
    let give = Action::Reassign { by: by(), to: names(&["dba"]), escalation: None };
    assert!(act(&mut incident, &give, &rules, time(2)).unwrap());
    assert_eq!(incident.assigned, ["bob", "carol"]);
    assert_eq!(incident.timeline.last().unwrap().text, "reassigned to dba");
    let snooze = |seconds| Action::Snooze { by: by(), seconds: Some(seconds), until: None };
    for (action, words, stands) in [
        (help, "bob, carol were asked for help already", true),
        (Action::Unacknowledge { by: by() }, "nobody has taken it", true),
        (snooze(0), "seconds: 0 is out of range", false),
        (snooze(2_592_001), "seconds: 2592001 is out of range", false),
        (
            Action::Snooze { by: by(), seconds: None, until: Some(time(-9)) },
            "until: 2026-01-05T08:59:51.000Z is out of range",
            false,
        ),
        (
            Action::AddResponder { by: by(), to: names(&["mallory"]) },
            "person or team \"mallory\" is not defined; defined: alice, bob, carol, dba",
            false,
        ),
        (Action::AddResponder { by: by(), to: Vec::new() }, "it names 0 people", false),
    ] {
        let refusal = act(&mut incident, &action, &rules, time(3)).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
        assert_eq!(matches!(refusal, incident::Refusal::Senseless(_)), stands, "{refusal}");
    }
}

#[test]
fn turns_go_round() {
    let (rules, mut robin) = (rules(), RoundRobin::default());
    let mut called = Vec::new();
    for number in 0..5 {
        let mut incident = incident(&rules, Some("turns"), "critical");
        if number == 3 {
            // Another node leads, and learns from the records.
            let mut learned = RoundRobin::default();
            incident.escalation.as_mut().unwrap().turns.insert(0, 2);
            learned.learn(&incident);
            incident.escalation.as_mut().unwrap().turns.clear();
            robin = learned;
        }
        advance(&mut incident, &rules, &mut robin, time(0));
        called.push(incident.pages[0].receiver.clone());
    }
    assert_eq!(called, ["bob", "carol", "alice", "bob", "carol"]);
}

proptest! {
    /// Until then as if nobody did, and then nothing.
    #[test]
    fn acknowledged_at_any_moment_it_is_silent_from_then_on(moment in 0_i64..1_000) {
        let rules = rules();
        let mut incident = incident(&rules, None, "critical");
        let calls = run(&mut incident, &rules, 0..2_000, |incident, second| {
            if second == moment {
                let action = Action::Acknowledge { by: "bob".to_owned() };
                act(incident, &action, &rules, time(second)).unwrap();
            }
        });
        let expected: Vec<_> = NOBODY.iter().filter(|(at, _)| *at < moment).copied().collect();
        prop_assert_eq!(calls, said(&expected));
        // And told that it is over are those who were told that it began.
        incident::resolve(&mut incident, "bob", "resolved", time(2_000)).unwrap();
        let told: std::collections::BTreeSet<_> = expected.iter().map(|(_, call)| *call).collect();
        let ended = incident.pages.iter().filter(|page| page.id.starts_with("resolved.")).count();
        prop_assert_eq!(ended, told.len());
    }
}
