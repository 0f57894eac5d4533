//! A table of what people may do in which state, and what pages come to.

use super::*;
use crate::fixtures::{opened_incident, time};

fn told(incident: &Incident) -> Vec<&str> {
    next_pages(incident, time(86_400)).iter().map(|page| page.id.as_str()).collect()
}

#[test]
fn transitions() {
    use IncidentStatus::{Acknowledged, Resolved, Triggered};
    for (actions, status, lines) in [
        (&[][..], Triggered, 0),
        (&["ack alice"], Acknowledged, 1),
        (&["ack alice", "ack alice"], Acknowledged, 1),
        (&["ack alice", "ack bob"], Acknowledged, 2),
        (&["resolve bob"], Resolved, 1),
        (&["ack alice", "resolve bob"], Resolved, 2),
        (&["resolve bob", "!ack alice"], Resolved, 1),
        (&["resolve bob", "!resolve alice"], Resolved, 1),
    ] {
        let mut incident = opened_incident();
        let before = incident.timeline.len();
        for action in actions {
            let (what, by) = action.trim_start_matches('!').split_once(' ').unwrap();
            let done = match what {
                "ack" => acknowledge(&mut incident, by, time(9)).map(drop),
                _ => resolve(&mut incident, by, "resolved", time(9)),
            };
            assert_eq!(done.is_err(), action.starts_with('!'), "{actions:?}");
        }
        assert_eq!(incident.status, status, "{actions:?}");
        assert_eq!(incident.timeline.len() - before, lines, "{actions:?}");
    }
}

#[test]
fn nobody_hears_of_the_end_before_the_beginning() {
    let mut incident = opened_incident();
    assert_eq!(
        told(&incident),
        ["firing.alice.email", "firing.alice.webhook", "firing.ops.webhook"]
    );
    let delivered = PageOutcome::Delivered;
    page_attempted(&mut incident, "firing.ops.webhook", 1, &delivered, time(1));
    let given_up = PageOutcome::GivenUp("refused".to_owned());
    page_attempted(&mut incident, "firing.alice.webhook", 9, &given_up, time(1));
    resolve(&mut incident, "bob", "resolved", time(2)).unwrap();
    assert_eq!(told(&incident), ["firing.alice.email", "resolved.ops.webhook"]);
    page_attempted(
        &mut incident,
        "firing.alice.email",
        2,
        &PageOutcome::Retry("busy".into()),
        time(3),
    );
    assert_eq!(incident.pages[0].error.as_deref(), Some("busy"));
    page_attempted(&mut incident, "firing.alice.email", 3, &delivered, time(3));
    assert_eq!(told(&incident), ["resolved.alice.email", "resolved.ops.webhook"]);
    // What is finished stays so, and is noted once.
    let before = incident.clone();
    page_attempted(&mut incident, "firing.alice.email", 4, &given_up, time(4));
    assert_eq!(incident, before);
}

#[test]
fn a_timeline_has_its_maximum() {
    let mut incident = opened_incident();
    let first = incident.timeline[0].clone();
    for number in 0..2 * TIMELINE_MAX {
        note(&mut incident, time(1), "alice", number.to_string());
    }
    assert_eq!(incident.timeline.len(), TIMELINE_MAX);
    assert_eq!(incident.timeline[0], first);
    assert_eq!(incident.timeline[TIMELINE_MAX - 1].text, (2 * TIMELINE_MAX - 1).to_string());
}
