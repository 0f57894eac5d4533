//! What can be wrong with failover policies: triggers that match everything, guards that never let anything pass, steps
//! that cannot be done.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr};

use chrono_tz::Tz;
use regex::Regex;
use watchkeep_catalog::{Status, check_name};

use super::{
    AlertingConfig, Callback, Condition, FailoverPolicy, FailoverStepConfig, Guards, OnFailure,
    VerdictIs, When, Whom,
    validate::{Findings, check_secrets, check_url},
};
use crate::{
    alertmanager,
    failover::{self, AFTER, BEFORE, UNDO},
    oncall::Restrictions,
    rule::parse_duration,
};

const TIMEOUT_MS: RangeInclusive<u64> = 10..=60_000;
const ATTEMPTS_MAX: RangeInclusive<u32> = 1..=100;
const BACKOFF_MS: RangeInclusive<u64> = 10..=30_000;
const DEADLINE_SECONDS: RangeInclusive<u32> = 1..=86_400;
const CONFIRM_SECONDS: RangeInclusive<u32> = 0..=86_400;
const APPROVAL_SECONDS: RangeInclusive<u32> = 30..=86_400;
const SHARE_PERCENT: RangeInclusive<u8> = 1..=100;
const SCRIPT_MS: RangeInclusive<u64> = 100..=3_600_000;
const EVERY_MS: RangeInclusive<u64> = 50..=60_000;
/// Failovers are on record for 90 days: nobody remembers longer.
const COOLDOWN_SECONDS: RangeInclusive<u32> = 0..=90 * 86_400;
/// A policy's name, in bytes: with an incident's before it, it is a failover's, which is a name in paths.
const NAME_BYTES_MAX: usize = 90;
/// Steps of one policy.
const STEPS_MAX: usize = 50;

impl AlertingConfig {
    /// Every PromQL expression in failover policies, with its path.
    #[must_use]
    pub fn failover_expressions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (at, policy) in self.failover.iter().enumerate() {
            for (step, config) in policy.steps.iter().enumerate() {
                let path = format!("failover[{at}].steps[{step}]");
                let conditions = [("wait", &config.wait), ("verify", &config.verify)];
                let asked = conditions.into_iter().filter_map(|(field, condition)| {
                    let expr = condition.as_ref()?.promql.clone()?;
                    Some((format!("{path}.{field}.promql"), expr))
                });
                let chosen = [("choose", &config.choose), ("promote", &config.promote)];
                let metrics = chosen.into_iter().filter_map(|(field, promote)| {
                    let expr = promote.as_ref()?.metric.clone()?;
                    Some((format!("{path}.{field}.metric"), expr))
                });
                found.extend(asked.chain(metrics));
            }
        }
        found
    }

    pub(super) fn check_failover(&self, found: &mut Findings) {
        for (at, policy) in self.failover.iter().enumerate() {
            let path = format!("failover[{at}]");
            check_policy(found, &path, policy);
            for (step, config) in policy.steps.iter().enumerate() {
                let Some(script) = &config.script else { continue };
                let path = format!("{path}.steps[{step}].script");
                found.range(format!("{path}.timeout_ms"), &script.timeout_ms, &SCRIPT_MS);
                let program = failover::program(self.failover_scripts.as_ref(), &script.command);
                found.check(format!("{path}.command"), program.map(drop));
            }
        }
    }
}

fn check_policy(found: &mut Findings, path: &str, policy: &FailoverPolicy) {
    if policy.name.len() > NAME_BYTES_MAX {
        let message = format!("{} bytes: give at most {NAME_BYTES_MAX}", policy.name.len());
        found.add(format!("{path}.name"), message);
    }
    check_when(found, &format!("{path}.when"), &policy.when);
    found.range(format!("{path}.confirm_seconds"), &policy.confirm_seconds, &CONFIRM_SECONDS);
    found.range(format!("{path}.approval_seconds"), &policy.approval_seconds, &APPROVAL_SECONDS);
    check_guards(found, &format!("{path}.guards"), &policy.guards);
    match (&policy.callback, policy.steps.len()) {
        (None, 0) => found.add(path, "it does nothing: give callback or steps"),
        (Some(_), 1..) => found.add(
            format!("{path}.callback"),
            "callback is shorthand for one step, and there are steps: make it one of them",
        ),
        (_, count) if count > STEPS_MAX => {
            found.add(format!("{path}.steps"), format!("{count} steps: give at most {STEPS_MAX}"));
        }
        _ => {}
    }
    for (field, callback) in policy.callbacks() {
        check_callback(found, &format!("{path}.{field}"), callback);
    }
    let mut promotes = false;
    for (at, step) in policy.steps.iter().enumerate() {
        check_step(found, &format!("{path}.steps[{at}]"), step, promotes);
        promotes |= step.promote.is_some() || step.choose.is_some();
    }
    let mut names = BTreeSet::new();
    for (at, planned) in failover::plan(policy).iter().enumerate() {
        if !names.insert(planned.name.clone()) {
            let message = format!("step {:?} is there twice: give each its own name", planned.name);
            let at = at.saturating_sub(usize::from(has_before(policy)));
            found.add(format!("{path}.steps[{at}].name"), message);
        }
    }
}

fn has_before(policy: &FailoverPolicy) -> bool {
    policy.hooks.as_ref().is_some_and(|hooks| hooks.before.is_some())
}

fn check_when(found: &mut Findings, path: &str, when: &When) {
    let named = [&when.service, &when.role, &when.instance, &when.tag];
    let unnamed = named.iter().all(|field| field.as_ref().is_none_or(String::is_empty));
    if when.is_verdict() && unnamed {
        let message = "it would match every instance: name a service, a role, an instance or a tag";
        found.add(path, message);
    }
    for (field, name) in [("service", &when.service), ("instance", &when.instance)] {
        if let Some(name) = name {
            check_key(found, &format!("{path}.{field}"), field, name);
        }
    }
    if when.status != Status::Critical {
        let message = format!("{:?} fails nothing over: write critical", when.status.as_str());
        found.add(format!("{path}.status"), message);
    }
    if !when.alert.is_empty() && when.burn_rate.is_some() {
        found.add(path, "alert and burn_rate are two triggers: make two policies of them");
    }
    for (field, given) in [("role", &when.role), ("tag", &when.tag)] {
        if !when.is_verdict() && given.is_some() {
            let message =
                "alerts and burn rates have none: match a label of the alert, or name an instance";
            found.add(format!("{path}.{field}"), message);
        }
    }
    for (at, text) in when.alert.iter().enumerate() {
        let matcher = alertmanager::parse_matcher(text);
        found.check(format!("{path}.alert[{at}]"), matcher.map(drop));
    }
    if let Some(burn) = &when.burn_rate {
        let path = format!("{path}.burn_rate");
        if !(burn.above.is_finite() && burn.above > 0.0) {
            let message = format!("{} is no rate: give a number above 0, like 14.4", burn.above);
            found.add(format!("{path}.above"), message);
        }
        let window = parse_duration(&burn.window).and_then(|window| match window.is_zero() {
            true => Err("it is nothing: give a time like 1h".to_owned()),
            false => Ok(()),
        });
        found.check(format!("{path}.window"), window);
        if burn.objective.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            found.add(format!("{path}.objective"), "give a share between 0 and 1, like 0.9999");
        }
        if when.service.is_none() {
            found.add(&path, "it is the budget of a service: set when.service");
        }
    }
}

fn check_guards(found: &mut Findings, path: &str, guards: &Guards) {
    if let Some(share) = &guards.maximum_share_percent {
        found.range(format!("{path}.maximum_share_percent"), share, &SHARE_PERCENT);
    }
    if let Some(seconds) = &guards.cooldown_seconds {
        found.range(format!("{path}.cooldown_seconds"), seconds, &COOLDOWN_SECONDS);
    }
    for (field, value) in [("rate_per_hour", guards.rate_per_hour), ("quorum", guards.quorum)] {
        if value == Some(0) {
            let message = "0 lets nothing pass, or everything: give 1 or more, or leave it out";
            found.add(format!("{path}.{field}"), message);
        }
    }
    if let Some(zone) = guards.time_zone.as_deref().filter(|zone| Tz::from_str(zone).is_err()) {
        let message = format!("{zone:?} is not a time zone: give an IANA name like Europe/Berlin");
        found.add(format!("{path}.time_zone"), message);
    }
    if let Err((at, message)) = Restrictions::new(&guards.time_windows) {
        found.add(format!("{path}.time_windows[{at}]"), message);
    }
}

fn check_callback(found: &mut Findings, path: &str, callback: &Callback) {
    found.check(format!("{path}.url"), check_url(&callback.url));
    if let Some(url) = &callback.undo_url {
        found.check(format!("{path}.undo_url"), check_url(url));
    }
    let secrets = (&callback.secret_file, &callback.secret_next_file);
    check_secrets(found, path, secrets);
    found.range(format!("{path}.timeout_ms"), &callback.timeout_ms, &TIMEOUT_MS);
    found.range(format!("{path}.attempts_max"), &callback.attempts_max, &ATTEMPTS_MAX);
    found.range(format!("{path}.backoff_ms"), &callback.backoff_ms, &BACKOFF_MS);
    if let Some(seconds) = &callback.deadline_seconds {
        found.range(format!("{path}.deadline_seconds"), seconds, &DEADLINE_SECONDS);
    }
    let Some(expect) = &callback.expect else { return };
    if let Some(status) = expect.status.iter().find(|status| !(200..600).contains(*status)) {
        let message = format!("{status} is no status of an answer: give 200 to 599");
        found.add(format!("{path}.expect.status"), message);
    }
    if let Some(Err(error)) = expect.body.as_deref().map(Regex::new) {
        found.add(format!("{path}.expect.body"), format!("not a regular expression: {error}"));
    }
}

fn check_step(found: &mut Findings, path: &str, step: &FailoverStepConfig, promoted: bool) {
    if let Some(name) = &step.name {
        found.check(format!("{path}.name"), check_name("step", name).map_err(|e| e.to_string()));
        if [BEFORE, AFTER].contains(&name.as_str()) || name.starts_with(UNDO) {
            let message = format!(
                "{name:?} is what hooks and steps that undo others are called: give it another name"
            );
            found.add(format!("{path}.name"), message);
        }
    }
    let kinds = [
        step.callback.is_some(),
        step.choose.is_some(),
        step.promote.is_some(),
        step.drain.is_some(),
        step.undrain.is_some(),
        step.scale.is_some(),
        step.script.is_some(),
        step.wait.is_some(),
        step.verify.is_some(),
        step.page.is_some(),
    ];
    let count = kinds.into_iter().filter(|is| *is).count();
    if count != 1 {
        let message = format!(
            "it does {count} things: give one of callback, choose, promote, drain, undrain, scale, script, wait, verify, page"
        );
        found.add(path, message);
    }
    if step.on_failure == Some(OnFailure::NextCandidate) && !promoted && step.promote.is_none() {
        let message = "next_candidate: no choose or promote step comes before it";
        found.add(format!("{path}.on_failure"), message);
    }
    for (field, condition) in [("wait", &step.wait), ("verify", &step.verify)] {
        if let Some(condition) = condition {
            check_condition(found, &format!("{path}.{field}"), condition, promoted);
        }
    }
    for (field, whom) in [("drain", &step.drain), ("undrain", &step.undrain)] {
        let Some(Whom { instance }) = whom else { continue };
        let path = format!("{path}.{field}.instance");
        check_key(found, &path, "instance", instance);
        if instance == "candidate" && !promoted {
            let message = "there is no candidate: no choose or promote step comes before it";
            found.add(path, message);
        }
    }
    if let Some(scale) = &step.scale
        && scale.to.is_some() == scale.add.is_some()
    {
        found.add(format!("{path}.scale"), "give to or add, one of the two");
    }
    for (kind, promote) in [("choose", &step.choose), ("promote", &step.promote)] {
        let Some(promote) = promote else { continue };
        for (field, role) in [("role", &promote.role), ("demote_to", &promote.demote_to)] {
            let named = check_name("role", role).map_err(|e| e.to_string());
            found.check(format!("{path}.{kind}.{field}"), named);
        }
        if promote.role == promote.demote_to {
            found.add(format!("{path}.{kind}.demote_to"), "it is the role itself");
        }
    }
}

/// What becomes a segment of a key.
fn check_key(found: &mut Findings, path: &str, what: &'static str, name: &str) {
    found.check(path, check_name(what, name).map_err(|error| error.to_string()));
}

fn check_condition(found: &mut Findings, path: &str, condition: &Condition, promoted: bool) {
    if condition.promql.is_some() == condition.verdict.is_some() {
        found.add(path, "give promql or verdict, one of the two");
    }
    found.range(format!("{path}.within_seconds"), &condition.within_seconds, &DEADLINE_SECONDS);
    found.range(format!("{path}.every_ms"), &condition.every_ms, &EVERY_MS);
    if let Some(VerdictIs { service, instance, .. }) = &condition.verdict {
        check_key(found, &format!("{path}.verdict.instance"), "instance", instance);
        if let Some(service) = service {
            check_key(found, &format!("{path}.verdict.service"), "service", service);
        }
    }
    if condition.verdict.as_ref().is_some_and(|v| v.instance == "candidate") && !promoted {
        let message =
            "there is no candidate: no choose or promote step comes before it; name an instance";
        found.add(format!("{path}.verdict.instance"), message);
    }
}
