//! What becomes of a failover whose time to be decided on has come: called off, held, only said, asked for, or begun. Pure.

use chrono::TimeDelta;
use watchkeep_catalog::{
    Failover, FailoverMode, FailoverState, FailoverStep, GuardResult, StepState, Time,
};

use super::{
    guard::{self, Inputs},
    plan::{Act, journal, plan},
};
use crate::{
    config::FailoverPolicy,
    text::{address, instant},
};

/// A page's reason: a failover ended as it should not have.
pub(crate) const FAILED: &str = "failover-failed";
/// A guard held it.
pub(crate) const HELD: &str = "failover-held";
/// A person is to confirm it.
pub(crate) const APPROVAL: &str = "failover-approval";
/// Nobody did.
pub(crate) const EXPIRED: &str = "failover-expired";

/// What is to be written, and said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) record: Failover,
    /// For the incident's timeline.
    pub(crate) note: String,
    /// Why somebody is told.
    pub(crate) page: Option<&'static str>,
}

/// A failover that a policy triggers: one that acts at once is pending, every other is to be judged.
pub(crate) fn begin(
    policy: &FailoverPolicy,
    mut record: Failover,
    node: &str,
    stopped: bool,
) -> Failover {
    record.mode = policy.mode();
    if policy.is_direct() && !stopped {
        let now = record.decided_at;
        start(policy, &mut record, node, now);
    } else {
        record.state = FailoverState::Deciding;
        let confirm = TimeDelta::seconds(i64::from(policy.confirm_seconds));
        record.due_at = Some(record.decided_at + confirm);
    }
    record
}

/// Its first step is under way from now on.
fn start(policy: &FailoverPolicy, record: &mut Failover, node: &str, now: Time) {
    record.state = FailoverState::Pending;
    record.started_at = Some(now);
    record.due_at = None;
    record.steps = journal(policy);
    if let Some(first) = record.steps.first_mut() {
        run(first, node, now);
    }
}

/// A step is under way from now on.
pub(crate) fn run(step: &mut FailoverStep, node: &str, now: Time) {
    step.state = StepState::Running;
    step.started_at = Some(now);
    node.clone_into(&mut step.by);
    step.detail.clear();
}

/// Decides. `holds`: its trigger is still there.
pub(crate) fn judge(
    policy: Option<&FailoverPolicy>,
    record: &Failover,
    holds: bool,
    inputs: &Inputs,
    node: &str,
    now: Time,
) -> Judged {
    let mut record = record.clone();
    let name = record.policy.clone();
    let Some(policy) = policy else {
        let why = format!("policy {name} is not configured any more");
        let note = over(&mut record, FailoverState::Failed, &why, now);
        return Judged { record, note, page: Some(FAILED) };
    };
    if !holds {
        let note = over(&mut record, FailoverState::CalledOff, "its trigger is gone", now);
        return Judged { record, note, page: None };
    }
    record.guards = guard::ask(policy, inputs, now);
    record.mode = policy.mode();
    let (acts, mode) = (!record.rehearsal, record.mode);
    if let Some(GuardResult { guard, why, .. }) = guard::held(&record.guards) {
        let why = format!("held by {guard}: {why}");
        let note = over(&mut record, FailoverState::Held, &why, now);
        let page = (acts && mode != FailoverMode::Observe).then_some(HELD);
        return Judged { record, note, page };
    }
    if acts && mode == FailoverMode::Observe {
        let why = format!("it would have done: {}", words(policy));
        let note = over(&mut record, FailoverState::Observed, &why, now);
        return Judged { record, note, page: None };
    }
    if acts && mode == FailoverMode::Approve && record.approved_by.is_none() {
        let until = now + TimeDelta::seconds(i64::from(policy.approval_seconds));
        record.state = FailoverState::AwaitingApproval;
        (record.due_at, record.expires_at) = (None, Some(until));
        let steps = words(policy);
        let note = format!(
            "failover {name} waits for somebody to confirm it until {}; it would do: {steps}",
            instant(until)
        );
        return Judged { record, note, page: Some(APPROVAL) };
    }
    start(policy, &mut record, node, now);
    let note = format!("failover {name} decided: {}", words(policy));
    Judged { record, note, page: None }
}

/// Nobody confirmed it in time.
pub(crate) fn expire(record: &Failover, now: Time) -> Judged {
    let mut record = record.clone();
    let note = over(&mut record, FailoverState::Expired, "nobody confirmed it in time", now);
    Judged { record, note, page: Some(EXPIRED) }
}

/// It is over; answers with the line for the timeline.
pub(crate) fn over(record: &mut Failover, state: FailoverState, why: &str, now: Time) -> String {
    record.state = state;
    record.finished_at = Some(now);
    record.due_at = None;
    why.clone_into(&mut record.outcome);
    let word = match state {
        FailoverState::Held | FailoverState::Observed => "",
        FailoverState::CalledOff => "called off: ",
        FailoverState::Expired => "not confirmed: ",
        FailoverState::Aborted => "ended: ",
        _ => "failed: ",
    };
    format!("failover {} {word}{why}", record.policy)
}

/// A policy's steps in one line.
pub(crate) fn words(policy: &FailoverPolicy) -> String {
    let word = |act: Act<'_>| match act {
        Act::Callback(call) => format!("calling {}", address(&call.url)),
        Act::Choose(_) => "choosing a candidate".to_owned(),
        Act::Promote(promote) => format!("making it {}", promote.role),
        Act::Drain(whom) => format!("draining {}", whom.instance),
        Act::Undrain(whom) => format!("undraining {}", whom.instance),
        Act::Scale(scale) => match (scale.to, scale.add) {
            (Some(to), _) => format!("asking for {to} instances"),
            (None, add) => format!("asking for {} more instances", add.unwrap_or_default()),
        },
        Act::Script(script) => format!("running {}", script.command),
        Act::Wait(_) => "waiting".to_owned(),
        Act::Verify(_) => "verifying".to_owned(),
        Act::Page(_) => "telling somebody".to_owned(),
    };
    plan(policy).iter().map(|planned| word(planned.act)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::time;

    fn policy(mode: &str) -> FailoverPolicy {
        serde_json::from_value(json!({"name": "p", "when": {"service": "db"}, "mode": mode,
            "confirm_seconds": 5, "approval_seconds": 60, "guards": {"quorum": 2},
            "steps": [{"drain": {}}, {"promote": {}}]}))
        .unwrap()
    }

    fn inputs(collectors: usize) -> Inputs {
        Inputs {
            service: "db".to_owned(),
            instance: "one".to_owned(),
            zone: String::new(),
            members: Vec::new(),
            past: Vec::new(),
            collectors,
            maintenance: None,
            never_passed: false,
            doubt: None,
            stopped: None,
            enabled: true,
        }
    }

    fn triggered(policy: &FailoverPolicy) -> Failover {
        let record = Failover::new("f".to_owned(), "p", "db", "one", time(0));
        begin(policy, record, "n1", false)
    }

    #[test]
    fn each_mode() {
        for (mode, state, page) in [
            ("observe", FailoverState::Observed, None),
            ("approve", FailoverState::AwaitingApproval, Some(APPROVAL)),
            ("automatic", FailoverState::Pending, None),
        ] {
            let policy = policy(mode);
            let record = triggered(&policy);
            assert_eq!((record.state, record.due_at), (FailoverState::Deciding, Some(time(5))));
            let judged = judge(Some(&policy), &record, true, &inputs(2), "n1", time(5));
            assert_eq!((judged.record.state, judged.page), (state, page), "{}", judged.note);
            let off = judge(Some(&policy), &record, false, &inputs(2), "n1", time(5));
            assert_eq!(off.record.state, FailoverState::CalledOff);
            // Held whatever the mode; whoever relies on it is told.
            let held = judge(Some(&policy), &record, true, &inputs(1), "n1", time(5));
            let told = (mode != "observe").then_some(HELD);
            assert_eq!((held.record.state, held.page), (FailoverState::Held, told));
            assert!(held.note.contains("held by quorum: 1 collectors"), "{}", held.note);
        }
    }

    #[test]
    fn a_person_confirms_and_the_guards_are_asked_again() {
        let policy = policy("approve");
        let asked = judge(Some(&policy), &triggered(&policy), true, &inputs(2), "n1", time(5));
        assert_eq!(asked.record.expires_at, Some(time(65)));
        let mut confirmed = asked.record.clone();
        confirmed.state = FailoverState::Deciding;
        confirmed.approved_by = Some("alice".to_owned());
        let go = judge(Some(&policy), &confirmed, true, &inputs(2), "n1", time(9)).record;
        assert_eq!((go.state, go.started_at), (FailoverState::Pending, Some(time(9))));
        assert_eq!(
            (go.steps[0].state, go.steps[1].state),
            (StepState::Running, StepState::Waiting)
        );
        let held = judge(Some(&policy), &confirmed, true, &inputs(0), "n1", time(9)).record;
        assert_eq!(held.state, FailoverState::Held);
        let late = expire(&asked.record, time(65));
        assert_eq!((late.record.state, late.page), (FailoverState::Expired, Some(EXPIRED)));
    }

    #[test]
    fn a_rehearsal_runs_whatever_the_mode_but_not_past_a_guard() {
        let policy = policy("observe");
        let record = Failover { rehearsal: true, ..triggered(&policy) };
        let run = judge(Some(&policy), &record, true, &inputs(2), "n1", time(5)).record;
        assert_eq!(run.state, FailoverState::Pending);
        let held = judge(Some(&policy), &record, true, &inputs(1), "n1", time(5));
        assert_eq!((held.record.state, held.page), (FailoverState::Held, None));
    }

    #[test]
    fn the_shorthand_acts_at_once_unless_all_are_stopped() {
        let policy: FailoverPolicy = serde_json::from_value(
            json!({"name": "p", "when": {"service": "db"}, "callback": {"url": "http://h/"}}),
        )
        .unwrap();
        let record = triggered(&policy);
        assert_eq!((record.state, record.started_at), (FailoverState::Pending, Some(time(0))));
        let stopped = begin(&policy, record, "n1", true);
        assert_eq!(stopped.state, FailoverState::Deciding);
        // An alert knows nothing of maintenance: the guards are asked first.
        let policy: FailoverPolicy = serde_json::from_value(
            json!({"name": "p", "when": {"alert": ["a=\"b\""]}, "callback": {"url": "http://h/"}}),
        )
        .unwrap();
        let alerted = triggered(&policy);
        assert_eq!((alerted.state, alerted.due_at), (FailoverState::Deciding, Some(time(0))));
        let inputs = Inputs { maintenance: Some("w".to_owned()), ..inputs(2) };
        let held = judge(Some(&policy), &alerted, true, &inputs, "n1", time(0)).record;
        assert_eq!(held.state, FailoverState::Held);
        let inputs = Inputs { maintenance: None, ..inputs };
        // What is gone from the configuration is a person's.
        let gone = judge(None, &stopped, true, &inputs, "n1", time(0));
        assert_eq!((gone.record.state, gone.page), (FailoverState::Failed, Some(FAILED)));
    }
}
