//! Order, next candidates, roll-back.

use super::*;
use crate::fixtures::time;

fn policy(json: serde_json::Value) -> FailoverPolicy {
    serde_json::from_value(json).unwrap()
}

fn failover(policy: &FailoverPolicy) -> Failover {
    let mut failover = Failover::new("f".to_owned(), "p", "db", "one", time(0));
    failover.steps = journal(policy);
    failover
}

fn whole() -> FailoverPolicy {
    policy(serde_json::json!({"name": "p", "when": {"service": "db"},
    "hooks": {"before": {"url": "http://h/b"}, "after": {"url": "http://h/a"}},
    "steps": [
        {"name": "fence", "callback": {"url": "http://h/", "undo_url": "http://h/undo"}},
        {"promote": {}},
        {"callback": {"url": "http://h/2"}},
        {"verify": {"verdict": {}}, "on_failure": "next_candidate"},
        {"drain": {}, "on_failure": "roll_back"},
    ]}))
}

fn states(failover: &Failover) -> String {
    let word = |step: &FailoverStep| format!("{}:{:?}", step.name, step.state);
    failover.steps.iter().map(word).collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Does everything up to this step.
fn until(plan: &[Planned<'_>], failover: &mut Failover, name: &str) -> usize {
    loop {
        let at = current(plan, failover).expect("a step");
        if failover.steps[at].name == name {
            return at;
        }
        failover.steps[at].state = StepState::Done;
    }
}

#[test]
fn names_and_order() {
    let policy = whole();
    let plan = plan(&policy);
    let names: Vec<_> = plan.iter().map(|p| p.name.as_str()).collect();
    let expected = ["before", "fence", "promote", "callback-3", "verify", "drain", "after"];
    assert_eq!(names, expected);
    let mut failover = failover(&policy);
    assert!(fits(&plan, &failover) && is_untouched(&failover));
    until(&plan, &mut failover, "promote");
    assert!(!is_untouched(&failover));
    until(&plan, &mut failover, "after");
    failover.steps[6].state = StepState::Done;
    assert_eq!(current(&plan, &failover), None);
    failover.steps[1].kind = "script".to_owned();
    assert!(!fits(&plan, &failover));
}

#[test]
fn a_failed_verification_takes_the_next_candidate() {
    let policy = whole();
    let (plan, mut failover) = (plan(&policy), failover(&policy));
    let at = until(&plan, &mut failover, "verify");
    failover.candidate = Some("two".to_owned());
    let before = key(&policy, &failover, 3);
    fail(&plan, &mut failover, at, "not passing");
    assert_eq!((failover.candidate.as_ref(), &*failover.tried), (None, &["two".to_owned()][..]));
    assert_eq!(current(&plan, &failover), Some(2));
    // The receiver has to do it again, for another instance.
    assert_eq!((before.as_str(), &*key(&policy, &failover, 3)), ("f.callback-3", "f.callback-3~1"));
    fail(&plan, &mut failover, 2, "no candidate is left");
    assert_eq!(failover.failure.as_deref(), Some("step promote failed: no candidate is left"));
    assert_eq!(current(&plan, &failover), Some(6));
}

#[test]
fn what_was_done_is_undone_from_the_end() {
    let policy = whole();
    let (plan, mut failover) = (plan(&policy), failover(&policy));
    let at = until(&plan, &mut failover, "drain");
    fail(&plan, &mut failover, at, "refused");
    assert!(fits(&plan, &failover));
    let order: Vec<_> = std::iter::from_fn(|| {
        let at = current(&plan, &failover)?;
        failover.steps[at].state = StepState::Done;
        Some(failover.steps[at].name.clone())
    })
    .collect();
    assert_eq!(order, ["undo-promote", "undo-fence", "after"]);
    // It was stopped when its undoing was to be written: then it is not undone.
    let at = failover.steps.iter().position(|step| step.name == "undo-promote").unwrap();
    failover.steps[2].state = StepState::Undone;
    not_done(&mut failover, at);
    let states = [failover.steps[2].state, failover.steps[at].state];
    assert_eq!(states, [StepState::Done, StepState::Skipped]);
}

#[test]
fn a_page_skips_the_rest_and_a_wait_goes_on() {
    let policy = policy(serde_json::json!({"name": "p", "when": {"service": "db"}, "steps": [
        {"wait": {"promql": "up"}}, {"drain": {}}, {"page": {}},
    ]}));
    let (plan, mut failover) = (plan(&policy), failover(&policy));
    fail(&plan, &mut failover, 0, "not in time");
    assert_eq!((current(&plan, &failover), &failover.failure), (Some(1), &None));
    fail(&plan, &mut failover, 1, "gone");
    assert_eq!(current(&plan, &failover), None);
    assert_eq!(states(&failover), "wait:failed drain:failed page:skipped");
}

#[test]
fn the_shorthand_is_one_callback_with_the_failovers_own_key() {
    let policy = policy(serde_json::json!({"name": "p", "when": {"service": "db"},
        "callback": {"url": "http://h/"}}));
    let failover = failover(&policy);
    assert_eq!((policy.mode().as_str(), policy.is_direct()), ("automatic", true));
    assert_eq!((failover.steps.len(), &*key(&policy, &failover, 0)), (1, "f"));
    assert_eq!(whole().mode().as_str(), "observe");
}
