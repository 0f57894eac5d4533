//! Each guard, in a world in which it alone says no.

use serde_json::{Value, json};

use super::*;
use crate::fixtures::time;

/// A Monday, nine o'clock in UTC.
fn now() -> Time {
    time(0)
}

fn member(id: &str, zone: &str) -> Member {
    Member { id: id.to_owned(), zone: zone.to_owned(), serves: true }
}

/// Three of four pass, in two zones; one failover of the service, long ago.
fn world() -> Inputs {
    let mut members = vec![member("one", "a"), member("two", "a"), member("three", "b")];
    members.push(member("four", "b"));
    members[0].serves = false;
    Inputs {
        service: "db".to_owned(),
        instance: "one".to_owned(),
        zone: "a".to_owned(),
        members,
        past: vec![past("old", "p", "db", "two", 7_200, Some(7_190))],
        collectors: 3,
        maintenance: None,
        never_passed: false,
        doubt: None,
        stopped: None,
        enabled: true,
    }
}

/// A failover that began `began` seconds ago.
fn past(
    id: &str,
    policy: &str,
    service: &str,
    instance: &str,
    began: i64,
    ended: Option<i64>,
) -> Past {
    Past {
        id: id.to_owned(),
        policy: policy.to_owned(),
        service: service.to_owned(),
        instance: instance.to_owned(),
        started_at: time(-began),
        finished_at: ended.map(|ended| time(-ended)),
    }
}

/// Every guard is set, and lets the world above pass.
fn policy() -> FailoverPolicy {
    with(json!({}))
}

fn with(changed: Value) -> FailoverPolicy {
    let mut guards = json!({
        "minimum_healthy": 2, "maximum_share_percent": 50, "cooldown_seconds": 600,
        "rate_per_hour": 2, "quorum": 2, "zone": "same", "one_at_a_time": true, "has_passed": true,
        "time_windows": [{"days": ["mon"], "from": "09:00", "to": "17:00"}],
    });
    for (name, value) in changed.as_object().unwrap() {
        guards[name] = value.clone();
    }
    let policy = json!({"name": "p", "when": {"service": "db"}, "guards": guards,
        "steps": [{"drain": {}}]});
    serde_json::from_value(policy).unwrap()
}

fn holding(policy: &FailoverPolicy, inputs: &Inputs, now: Time) -> Vec<String> {
    let results = ask(policy, inputs, now).into_iter().filter(|result| result.held);
    results.map(|result| result.guard).collect()
}

/// This guard and no other holds, and without it nothing does.
fn alone(guard: &str, inputs: &Inputs, now: Time) {
    assert_eq!(holding(&policy(), inputs, now), [guard]);
    let mut without = policy();
    match guard {
        "minimum_healthy" => without.guards.minimum_healthy = None,
        "maximum_share_percent" => without.guards.maximum_share_percent = None,
        "cooldown_seconds" => without.guards.cooldown_seconds = None,
        "rate_per_hour" => without.guards.rate_per_hour = None,
        "quorum" => without.guards.quorum = None,
        "time_windows" => without.guards.time_windows.clear(),
        "zone" => without.guards.zone = None,
        "has_passed" => without.guards.has_passed = false,
        "one_at_a_time" => without.guards.one_at_a_time = Some(false),
        // These always count.
        "kill_switch" | "maintenance" | "belief" => return,
        other => panic!("{other} is not known"),
    }
    assert_eq!(holding(&without, inputs, now), Vec::<String>::new());
}

#[test]
fn all_let_it_pass() {
    let results = ask(&policy(), &world(), now());
    assert!(held(&results).is_none(), "{results:?}");
    assert_eq!(results.len(), 12);
}

#[test]
fn kill_switch_alone() {
    let stopped = Inputs { stopped: Some("alice: a migration".to_owned()), ..world() };
    alone("kill_switch", &stopped, now());
    alone("kill_switch", &Inputs { enabled: false, ..world() }, now());
}

#[test]
fn maintenance_alone() {
    alone("maintenance", &Inputs { maintenance: Some("nightly".to_owned()), ..world() }, now());
}

#[test]
fn belief_alone() {
    let doubt = Some("the service is in panic".to_owned());
    alone("belief", &Inputs { doubt, ..world() }, now());
}

#[test]
fn one_at_a_time_alone() {
    let mut inputs = world();
    // It runs for so long that neither share nor rate count it as recent; the cooldown is of those that ended.
    inputs.past.push(past("running", "q", "db", "one", 10, None));
    let mut policy = policy();
    policy.guards.cooldown_seconds = None;
    assert_eq!(holding(&policy, &inputs, now()), ["one_at_a_time"]);
    policy.guards.one_at_a_time = Some(false);
    assert_eq!(holding(&policy, &inputs, now()), Vec::<String>::new());
    // Another service's does not matter.
    inputs.past.last_mut().unwrap().service = "web".to_owned();
    assert_eq!(holding(&super::tests::policy(), &inputs, now()), Vec::<String>::new());
}

#[test]
fn minimum_healthy_alone() {
    let mut inputs = world();
    inputs.members[2].serves = false;
    inputs.members[3].serves = false;
    alone("minimum_healthy", &inputs, now());
    // The failed one does not count even if it is thought to pass.
    inputs.members[0].serves = true;
    alone("minimum_healthy", &inputs, now());
}

#[test]
fn maximum_share_alone() {
    let mut inputs = world();
    for id in ["two", "three"] {
        inputs.past.push(past(id, "q", "db", id, 1_800, Some(1_790)));
    }
    alone("maximum_share_percent", &inputs, now());
    // The same instance again is one.
    inputs.past[2].instance = "two".to_owned();
    assert_eq!(holding(&policy(), &inputs, now()), Vec::<String>::new());
}

#[test]
fn a_service_as_a_whole_is_none_of_its_instances() {
    let holds = |percent: u8, members: usize| {
        let policy = with(json!({"maximum_share_percent": percent}));
        let mut inputs = Inputs { instance: String::new(), past: Vec::new(), ..world() };
        inputs.members.truncate(members);
        holding(&policy, &inputs, now()).contains(&"maximum_share_percent".to_owned())
    };
    assert!(holds(24, 4) && !holds(25, 4) && holds(25, 3));
    // Of no instance at all nothing is a share.
    assert!(holds(100, 0));
}

#[test]
fn cooldown_alone() {
    let mut inputs = world();
    inputs.past.push(past("before", "q", "db", "two", 620, Some(599)));
    alone("cooldown_seconds", &inputs, now());
    inputs.past[1].finished_at = Some(time(-600));
    assert_eq!(holding(&policy(), &inputs, now()), Vec::<String>::new());
}

#[test]
fn rate_alone() {
    let mut inputs = world();
    inputs.past.push(past("a", "p", "web", "x", 3_599, Some(3_500)));
    inputs.past.push(past("b", "p", "web", "y", 60, Some(50)));
    alone("rate_per_hour", &inputs, now());
    inputs.past[1].started_at = time(-3_600);
    assert_eq!(holding(&policy(), &inputs, now()), Vec::<String>::new());
}

#[test]
fn quorum_alone() {
    alone("quorum", &Inputs { collectors: 1, ..world() }, now());
    assert_eq!(holding(&policy(), &Inputs { collectors: 2, ..world() }, now()), [""; 0]);
}

#[test]
fn time_windows_alone() {
    alone("time_windows", &world(), time(-1));
    // The same hours on another clock.
    let berlin = with(json!({"time_zone": "Europe/Berlin"}));
    assert_eq!(holding(&berlin, &world(), time(7 * 3_600)), ["time_windows"]);
    assert_eq!(holding(&policy(), &world(), time(7 * 3_600)), [""; 0]);
}

#[test]
fn zone_alone() {
    let mut inputs = world();
    inputs.members[1].zone = "b".to_owned();
    alone("zone", &inputs, now());
    let other = with(json!({"zone": "other"}));
    assert_eq!(holding(&other, &inputs, now()), [""; 0]);
    for member in &mut inputs.members {
        member.zone = "a".to_owned();
    }
    assert_eq!(holding(&other, &inputs, now()), ["zone"]);
    // What is not known holds.
    alone("zone", &Inputs { zone: String::new(), ..world() }, now());
}

#[test]
fn has_passed_alone() {
    let world = Inputs { never_passed: true, ..world() };
    alone("has_passed", &world, now());
    let results = ask(&policy(), &world, now());
    assert_eq!(held(&results).unwrap().why, "it has not passed since it was registered");
}
