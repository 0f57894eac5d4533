//! What may hold a failover, asked before anything is done. Pure: what is known comes in, what each guard says goes out.
//!
//! docs/failover.md has a table of them with their reasons and tests. A guard that does not know what it must know holds.

use std::{collections::BTreeSet, str::FromStr};

use chrono::TimeDelta;
use chrono_tz::Tz;
use watchkeep_catalog::{GuardResult, Time};

use crate::{
    config::{FailoverPolicy, ZoneRule},
    oncall::Restrictions,
};

/// Shares and rates are of so long.
const HOUR: TimeDelta = TimeDelta::hours(1);

/// An instance of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) zone: String,
    /// It passes, and nobody has drained it.
    pub(crate) serves: bool,
}

/// Another failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) id: String,
    pub(crate) policy: String,
    pub(crate) service: String,
    pub(crate) instance: String,
    /// When it began to act.
    pub(crate) started_at: Time,
    pub(crate) finished_at: Option<Time>,
}

/// All that guards ask.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inputs {
    pub(crate) service: String,
    /// Empty: the service as a whole.
    pub(crate) instance: String,
    /// The zone of the instance, as it was when it was seen last.
    pub(crate) zone: String,
    pub(crate) members: Vec<Member>,
    /// Failovers that have acted, this one apart, rehearsals apart.
    pub(crate) past: Vec<Past>,
    /// Collectors that find the instance critical; of a service as a whole, those that are alive.
    pub(crate) collectors: usize,
    /// The maintenance window that covers it.
    pub(crate) maintenance: Option<String>,
    /// The instance has not passed once since it was registered.
    pub(crate) never_passed: bool,
    /// Why it is not believed to have failed by itself.
    pub(crate) doubt: Option<String>,
    /// Who stopped failovers, and why.
    pub(crate) stopped: Option<String>,
    /// `alerting.failover_enabled`.
    pub(crate) enabled: bool,
}

/// What each guard of a policy says, in the order of the table in the docs.
pub(crate) fn ask(policy: &FailoverPolicy, inputs: &Inputs, now: Time) -> Vec<GuardResult> {
    let guards = &policy.guards;
    let mut asked = Asked(Vec::new());
    asked.add("kill_switch", kill_switch(inputs));
    asked.add("maintenance", maintenance(inputs));
    asked.add("belief", belief(inputs));
    if guards.has_passed {
        asked.add("has_passed", has_passed(inputs));
    }
    if policy.one_at_a_time() {
        asked.add("one_at_a_time", one_at_a_time(inputs));
    }
    if let Some(minimum) = guards.minimum_healthy {
        asked.add("minimum_healthy", minimum_healthy(inputs, minimum));
    }
    if let Some(percent) = guards.maximum_share_percent {
        asked.add("maximum_share_percent", maximum_share(inputs, percent, now));
    }
    if let Some(seconds) = guards.cooldown_seconds {
        asked.add("cooldown_seconds", cooldown(inputs, seconds, now));
    }
    if let Some(rate) = guards.rate_per_hour {
        asked.add("rate_per_hour", rate_per_hour(inputs, &policy.name, rate, now));
    }
    if let Some(quorum) = guards.quorum {
        asked.add("quorum", collectors(inputs, quorum));
    }
    if !guards.time_windows.is_empty() {
        asked.add("time_windows", time_windows(policy, now));
    }
    if let Some(rule) = guards.zone {
        asked.add("zone", zone(inputs, rule));
    }
    asked.0
}

/// The first that holds.
pub(crate) fn held(results: &[GuardResult]) -> Option<&GuardResult> {
    results.iter().find(|result| result.held)
}

struct Asked(Vec<GuardResult>);

impl Asked {
    /// `Ok`: it lets it pass, and why; `Err`: it holds, and why.
    fn add(&mut self, guard: &str, said: Result<String, String>) {
        let held = said.is_err();
        let why = said.unwrap_or_else(|why| why);
        self.0.push(GuardResult { guard: guard.to_owned(), held, why });
    }
}

fn when(passes: bool, why: String) -> Result<String, String> {
    if passes { Ok(why) } else { Err(why) }
}

fn kill_switch(inputs: &Inputs) -> Result<String, String> {
    match &inputs.stopped {
        Some(by) => Err(format!("failovers are stopped by {by}")),
        None if !inputs.enabled => Err("alerting.failover_enabled is false".to_owned()),
        None => Ok("not stopped".to_owned()),
    }
}

fn maintenance(inputs: &Inputs) -> Result<String, String> {
    match &inputs.maintenance {
        Some(window) => Err(format!("maintenance window {window} is open")),
        None => Ok("no maintenance".to_owned()),
    }
}

/// In panic, or while something that it depends on is down, nothing is failed over.
fn belief(inputs: &Inputs) -> Result<String, String> {
    match &inputs.doubt {
        Some(doubt) => Err(doubt.clone()),
        None => Ok("it is believed".to_owned()),
    }
}

/// What never worked is not repaired by moving its load.
fn has_passed(inputs: &Inputs) -> Result<String, String> {
    let not = if inputs.never_passed { "not " } else { "" };
    when(!inputs.never_passed, format!("it has {not}passed since it was registered"))
}

fn one_at_a_time(inputs: &Inputs) -> Result<String, String> {
    let service = &inputs.service;
    let mut of_service = inputs.past.iter().filter(|past| past.service == *service);
    match of_service.find(|past| past.finished_at.is_none()) {
        Some(running) => Err(format!("failover {} of {service} is under way", running.id)),
        None => Ok(format!("no other failover of {service} is under way")),
    }
}

/// The others: whoever has failed does not count, whatever is still thought of it.
fn others(inputs: &Inputs) -> impl Iterator<Item = &Member> {
    inputs.members.iter().filter(|member| member.id != inputs.instance)
}

fn minimum_healthy(inputs: &Inputs, minimum: u32) -> Result<String, String> {
    let left = others(inputs).filter(|member| member.serves).count();
    let enough = u32::try_from(left).unwrap_or(u32::MAX) >= minimum;
    when(enough, format!("{left} other instances pass, {minimum} must"))
}

fn maximum_share(inputs: &Inputs, percent: u8, now: Time) -> Result<String, String> {
    let recent = |past: &&Past| {
        past.service == inputs.service
            && (past.finished_at.is_none() || past.started_at > now - HOUR)
    };
    let mut acted: BTreeSet<&str> =
        inputs.past.iter().filter(recent).map(|past| past.instance.as_str()).collect();
    acted.insert(&inputs.instance);
    // Whoever has lost its registration was one of them, too. The service as a whole is none.
    let lost = acted.iter().copied().filter(|id| !id.is_empty());
    let known: BTreeSet<&str> = inputs.members.iter().map(|m| m.id.as_str()).chain(lost).collect();
    let (acted, known) = (acted.len(), known.len());
    let fits = acted * 100 <= usize::from(percent) * known;
    when(fits, format!("{acted} of {known} instances within an hour, {percent} % are allowed"))
}

fn cooldown(inputs: &Inputs, seconds: u32, now: Time) -> Result<String, String> {
    let service = &inputs.service;
    let of_service = inputs.past.iter().filter(|past| past.service == *service);
    let last = of_service.max_by_key(|past| past.finished_at.unwrap_or(now));
    let Some(last) = last else { return Ok(format!("no failover of {service} before")) };
    let since = (now - last.finished_at.unwrap_or(now)).num_seconds();
    let why =
        format!("failover {} of {service} ended {since} s ago, {seconds} s must pass", last.id);
    when(since >= i64::from(seconds), why)
}

fn rate_per_hour(inputs: &Inputs, policy: &str, rate: u32, now: Time) -> Result<String, String> {
    let recent = |past: &&Past| past.policy == policy && past.started_at > now - HOUR;
    let count = inputs.past.iter().filter(recent).count();
    let fits = u32::try_from(count).unwrap_or(u32::MAX) < rate;
    when(fits, format!("{count} failovers of {policy} within an hour, {rate} are allowed"))
}

fn collectors(inputs: &Inputs, quorum: u32) -> Result<String, String> {
    let (count, what) = (
        inputs.collectors,
        if inputs.instance.is_empty() { "are alive" } else { "find it critical" },
    );
    let enough = u32::try_from(count).unwrap_or(u32::MAX) >= quorum;
    when(enough, format!("{count} collectors {what}, {quorum} must"))
}

fn time_windows(policy: &FailoverPolicy, now: Time) -> Result<String, String> {
    let guards = &policy.guards;
    let zone = guards.time_zone.as_deref().unwrap_or("UTC");
    let windows = Restrictions::new(&guards.time_windows).map_err(|(_, why)| why)?;
    let tz = Tz::from_str(zone).map_err(|_| format!("{zone} is no time zone"))?;
    let local = now.with_timezone(&tz).format("%a %H:%M");
    when(windows.hold(tz, now), format!("it is {local} in {zone}"))
}

fn zone(inputs: &Inputs, rule: ZoneRule) -> Result<String, String> {
    let own = &inputs.zone;
    if own.is_empty() {
        return Err("the zone of the instance is not known".to_owned());
    }
    let fits = |member: &&Member| match rule {
        ZoneRule::Same => member.zone == *own,
        ZoneRule::Other => member.zone != *own && !member.zone.is_empty(),
    };
    let count = others(inputs).filter(|member| member.serves).filter(fits).count();
    let place = match rule {
        ZoneRule::Same => format!("in zone {own}"),
        ZoneRule::Other => format!("in another zone than {own}"),
    };
    when(count > 0, format!("{count} other instances pass {place}"))
}

#[cfg(test)]
mod tests;
