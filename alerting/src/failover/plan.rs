//! From a policy to its steps, and which of them is next. Pure.
//!
//! ```text
//! hooks.before ─▶ step ─▶ step ─▶ … ─▶ hooks.after        all done: delivered
//!                   └ fails for good ─▶ undo what was done ─▶ hooks.after    failed, or rolled back
//! ```
//!
//! The journal's list has the policy's steps in this order, and behind them those that undo some.

use watchkeep_catalog::{Failover, FailoverStep, StepState};

use crate::config::{
    Callback, Condition, FailoverPolicy, OnFailure, PageStep, Promote, Scale, Script, Whom,
};

/// The names of the hooks, which no other step has.
pub(crate) const BEFORE: &str = "before";
pub(crate) const AFTER: &str = "after";
/// Steps that undo others are named so, and behind it as those.
pub(crate) const UNDO: &str = "undo-";

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act<'a> {
    Callback(&'a Callback),
    Choose(&'a Promote),
    Promote(&'a Promote),
    Drain(&'a Whom),
    Undrain(&'a Whom),
    Scale(&'a Scale),
    Script(&'a Script),
    Wait(&'a Condition),
    Verify(&'a Condition),
    Page(&'a PageStep),
}

impl Act<'_> {
    /// The word in the journal.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Callback(_) => "callback",
            Self::Choose(_) => "choose",
            Self::Promote(_) => "promote",
            Self::Drain(_) => "drain",
            Self::Undrain(_) => "undrain",
            Self::Scale(_) => "scale",
            Self::Script(_) => "script",
            Self::Wait(_) => "wait",
            Self::Verify(_) => "verify",
            Self::Page(_) => "page",
        }
    }
}

/// A step of a policy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned<'a> {
    pub(crate) name: String,
    pub(crate) act: Act<'a>,
    pub(crate) on_failure: OnFailure,
    /// It comes last, whatever came before.
    pub(crate) is_last: bool,
}

/// The steps of a policy, hooks among them. A policy that is not valid may have none.
pub(crate) fn plan(policy: &FailoverPolicy) -> Vec<Planned<'_>> {
    let hook = |name: &str, callback, on_failure, is_last| Planned {
        name: name.to_owned(),
        act: Act::Callback(callback),
        on_failure,
        is_last,
    };
    let hooks = policy.hooks.as_ref();
    let before = hooks.and_then(|hooks| hooks.before.as_ref());
    let after = hooks.and_then(|hooks| hooks.after.as_ref());
    let mut steps: Vec<Planned<'_>> = Vec::new();
    steps.extend(before.map(|call| hook(BEFORE, call, OnFailure::Page, false)));
    steps.extend(policy.callback.iter().map(|call| hook("callback", call, OnFailure::Page, false)));
    for config in &policy.steps {
        let acts = [
            config.callback.as_ref().map(Act::Callback),
            config.choose.as_ref().map(Act::Choose),
            config.promote.as_ref().map(Act::Promote),
            config.drain.as_ref().map(Act::Drain),
            config.undrain.as_ref().map(Act::Undrain),
            config.scale.as_ref().map(Act::Scale),
            config.script.as_ref().map(Act::Script),
            config.wait.as_ref().map(Act::Wait),
            config.verify.as_ref().map(Act::Verify),
            config.page.as_ref().map(Act::Page),
        ];
        let Some(act) = acts.into_iter().flatten().next() else { continue };
        let otherwise = match act {
            Act::Wait(_) => OnFailure::GoOn,
            _ => OnFailure::Page,
        };
        let same = steps.iter().filter(|step| step.act.kind() == act.kind()).count();
        let name = config.name.clone().unwrap_or_else(|| match same {
            0 => act.kind().to_owned(),
            count => format!("{}-{}", act.kind(), count + 1),
        });
        let on_failure = config.on_failure.unwrap_or(otherwise);
        steps.push(Planned { name, act, on_failure, is_last: false });
    }
    steps.extend(after.map(|call| hook(AFTER, call, OnFailure::GoOn, true)));
    steps
}

/// The same as the journal has them.
pub(crate) fn journal(policy: &FailoverPolicy) -> Vec<FailoverStep> {
    let step = |planned: &Planned<'_>| FailoverStep {
        name: planned.name.clone(),
        kind: planned.act.kind().to_owned(),
        ..FailoverStep::default()
    };
    plan(policy).iter().map(step).collect()
}

/// Whether a journal is of this plan: it was not changed since.
pub(crate) fn fits(plan: &[Planned<'_>], failover: &Failover) -> bool {
    let own: Vec<_> = failover.steps.iter().filter(|step| step.undoes.is_none()).collect();
    own.len() == plan.len()
        && own.iter().zip(plan).all(|(step, p)| step.name == p.name && step.kind == p.act.kind())
}

/// The step whose turn it is.
pub(crate) fn current(plan: &[Planned<'_>], failover: &Failover) -> Option<usize> {
    let place = |at: usize, step: &FailoverStep| match step.undoes {
        Some(_) => 1,
        None if plan.get(at).is_some_and(|planned| planned.is_last) => 2,
        None => 0,
    };
    let open = failover.steps.iter().enumerate();
    let open = open.filter(|(_, s)| matches!(s.state, StepState::Waiting | StepState::Running));
    open.min_by_key(|(at, step)| (place(*at, step), *at)).map(|(at, _)| at)
}

/// Whether a step changes anything but the journal. The hook in front only announces what may come.
pub(crate) fn has_effect(step: &FailoverStep) -> bool {
    step.name != BEFORE && !matches!(step.kind.as_str(), "choose" | "wait" | "verify")
}

/// Whether nothing that the failover does has had an effect, or may have had one: but for a callback that is under way, of
/// which who calls it knows more.
pub(crate) fn is_untouched(failover: &Failover) -> bool {
    let begun = |step: &&FailoverStep| {
        !matches!(step.state, StepState::Waiting | StepState::Skipped) && has_effect(step)
    };
    let mut begun = failover.steps.iter().filter(begun);
    match (begun.next(), begun.next()) {
        (None, _) => true,
        (Some(only), None) => only.state == StepState::Running && only.kind == "callback",
        _ => false,
    }
}

/// A step fails for good: what becomes of the others.
pub(crate) fn fail(plan: &[Planned<'_>], failover: &mut Failover, at: usize, why: &str) {
    let Some(step) = failover.steps.get_mut(at) else { return };
    step.state = StepState::Failed;
    why.clone_into(&mut step.detail);
    if step.undoes.is_some() {
        // The others are undone all the same.
        let text = format!("step {} failed: {why}", step.name);
        failover.failure.get_or_insert(text);
        return;
    }
    let Some(planned) = plan.get(at) else { return };
    match planned.on_failure {
        OnFailure::GoOn => {}
        OnFailure::NextCandidate if failover.candidate.is_some() => {
            again(plan, failover, at, why);
        }
        OnFailure::Page | OnFailure::NextCandidate => give_up(plan, failover, at, why),
        OnFailure::RollBack => {
            give_up(plan, failover, at, why);
            undo(plan, failover);
        }
    }
}

/// The rest is skipped, but for what comes last.
fn give_up(plan: &[Planned<'_>], failover: &mut Failover, at: usize, why: &str) {
    let text = match plan {
        [_] => why.to_owned(),
        _ => format!("step {} failed: {why}", failover.steps[at].name),
    };
    failover.failure.get_or_insert(text);
    skip(plan, failover);
}

/// Nothing more is begun, but for what comes last.
pub(crate) fn skip(plan: &[Planned<'_>], failover: &mut Failover) {
    for (at, step) in failover.steps.iter_mut().enumerate() {
        let is_last = plan.get(at).is_some_and(|planned| planned.is_last);
        if step.state == StepState::Waiting && step.undoes.is_none() && !is_last {
            step.state = StepState::Skipped;
        }
    }
}

/// A step was performed, but what was to be written with that was not: it changed nothing, and undid nothing.
pub(crate) fn not_done(failover: &mut Failover, at: usize) {
    let Some(step) = failover.steps.get_mut(at) else { return };
    step.state = StepState::Skipped;
    "not done any more".clone_into(&mut step.detail);
    let undone = step.undoes.and_then(|at| usize::try_from(at).ok());
    if let Some(undone) = undone.and_then(|at| failover.steps.get_mut(at)) {
        undone.state = StepState::Done;
    }
}

/// From where the candidate was chosen everything is done once more, with another one.
fn again(plan: &[Planned<'_>], failover: &mut Failover, at: usize, why: &str) {
    let chosen = (0..=at).find(|at| matches!(plan[*at].act, Act::Choose(_) | Act::Promote(_)));
    let (Some(from), Some(candidate)) = (chosen, failover.candidate.take()) else {
        return give_up(plan, failover, at, why);
    };
    failover.tried.push(candidate);
    for step in &mut failover.steps[from..=at] {
        let (round, before) = (step.round + 1, std::mem::take(&mut step.before));
        *step = FailoverStep {
            name: std::mem::take(&mut step.name),
            kind: std::mem::take(&mut step.kind),
            detail: format!("again with another candidate: {why}"),
            before,
            round,
            ..FailoverStep::default()
        };
    }
}

/// Keeps in the journal what was before a step; none: the step has changed nothing of it. Of several rounds what was before
/// the first counts.
pub(crate) fn remember(step: &mut FailoverStep, what: String, was: Option<String>) {
    match was {
        Some(was) if step.round > 0 => {
            step.before.entry(what).or_insert(was);
        }
        Some(was) => {
            step.before.insert(what, was);
        }
        None if step.round > 0 => {}
        None => {
            step.before.remove(&what);
        }
    }
}

/// Steps that undo what is done, the last first.
fn undo(plan: &[Planned<'_>], failover: &mut Failover) {
    let mut undone = Vec::new();
    for (at, planned) in plan.iter().enumerate().rev() {
        let can = match planned.act {
            Act::Promote(_) | Act::Drain(_) | Act::Undrain(_) => true,
            Act::Callback(call) => call.undo_url.is_some(),
            _ => false,
        };
        if can && failover.steps.get(at).is_some_and(|step| step.state == StepState::Done) {
            undone.push(FailoverStep {
                name: format!("{UNDO}{}", planned.name),
                kind: planned.act.kind().to_owned(),
                undoes: u32::try_from(at).ok(),
                ..FailoverStep::default()
            });
        }
    }
    failover.steps.extend(undone);
}

/// The same for every attempt of a step, and for no other step.
pub(crate) fn key(policy: &FailoverPolicy, failover: &Failover, at: usize) -> String {
    let step = &failover.steps[at];
    if policy.steps.is_empty() && step.name == "callback" {
        return failover.id.clone();
    }
    match step.round {
        0 => format!("{}.{}", failover.id, step.name),
        // No name has this sign: a step called so is another one.
        round => format!("{}.{}~{round}", failover.id, step.name),
    }
}

#[cfg(test)]
mod tests;
