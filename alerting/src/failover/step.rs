//! One step: what it does, and what is to be written with that it is done. A file per kind.

use std::time::Duration;

use watchkeep_catalog::{Failover, keys};

use super::{
    Deposed, Interrupt, Run,
    plan::{self, Act},
};
use crate::{
    config::Whom,
    store::{self, Extra},
};

mod callback;
mod condition;
mod drain;
mod promote;
mod scale;
pub(super) mod script;

/// What came of a step.
pub(super) enum Outcome {
    Done {
        /// In words.
        detail: String,
        /// What is written with it.
        extra: Extra,
        /// Why somebody is told.
        tell: Option<String>,
    },
    Failed(String),
    Interrupted(Interrupt),
}

impl Outcome {
    fn done(detail: impl Into<String>) -> Self {
        Self::Done { detail: detail.into(), extra: Extra::default(), tell: None }
    }

    fn with(detail: impl Into<String>, extra: Extra) -> Self {
        Self::Done { detail: detail.into(), extra, tell: None }
    }
}

/// Does step `at`, which the journal says is running.
pub(super) async fn perform(run: &mut Run<'_>, at: usize) -> Result<Outcome, Deposed> {
    let undoes = run.failover.record.steps[at].undoes;
    let planned = undoes.map_or(at, |undoes| usize::try_from(undoes).unwrap_or(usize::MAX));
    let Some(act) = run.plan.get(planned).map(|planned| planned.act) else {
        return Ok(Outcome::Failed("it is not in the policy".to_owned()));
    };
    if undoes.is_some() {
        return match act {
            Act::Callback(callback) => callback::undo(run, at, callback).await,
            Act::Promote(promote) => promote::undo(run, planned, promote).await,
            Act::Drain(_) | Act::Undrain(_) => drain::undo(run, planned).await,
            _ => Ok(Outcome::done("there is nothing to undo")),
        };
    }
    match act {
        Act::Callback(callback) => callback::call(run, at, callback, None).await,
        Act::Choose(promote) => promote::choose(run, promote).await,
        Act::Promote(promote) => promote::promote(run, at, promote).await,
        Act::Drain(whom) => drain::drain(run, at, whom).await,
        Act::Undrain(whom) => drain::undrain(run, at, whom).await,
        Act::Scale(scale) => scale::scale(run, at, scale).await,
        Act::Script(script) => script::run(run, at, script).await,
        Act::Wait(condition) | Act::Verify(condition) => condition::until(run, at, condition).await,
        Act::Page(page) => {
            let text = match page.text.as_str() {
                "" => "somebody is told".to_owned(),
                text => text.to_owned(),
            };
            if run.failover.record.rehearsal {
                return Ok(Outcome::done(format!("it would tell somebody: {text}")));
            }
            let name = &run.failover.record.steps[at].name;
            let tell = Some(format!("failover-step-{name}"));
            Ok(Outcome::Done { detail: text, extra: Extra::default(), tell })
        }
    }
}

/// Whether a person, or a stop, wants it to end: asked while a step waits, and before whatever was not written just now.
pub(super) async fn interrupted(run: &mut Run<'_>) -> Result<Option<Interrupt>, Deposed> {
    if run.failover.record.aborted_by.is_some() {
        return Ok(Some(Interrupt::Aborted));
    }
    let key = keys::failover(&run.failover.record.id);
    let client = &run.context.client;
    let read = tokio::try_join!(client.get(&key), client.get(keys::FAILOVER_STOP));
    // When the registry does not answer nothing is known, and the step goes on.
    let Ok((kv, stop)) = read else { return Ok(None) };
    if let Some(now) = kv.and_then(|kv| kv.json::<Failover>().ok())
        && now.aborted_by.is_some()
    {
        // The write finds out, and takes over the journal's revision.
        let found = run.write(Extra::default(), None).await?;
        return Ok(found.or(Some(Interrupt::Aborted)));
    }
    Ok(stop.as_ref().map(store::stop_of).map(Interrupt::Stopped))
}

/// The instance that is meant.
fn whom(record: &Failover, whom: &Whom) -> Result<String, String> {
    instance(record, &whom.instance)
}

/// `failed`, `candidate`, or an id.
fn instance(record: &Failover, name: &str) -> Result<String, String> {
    match name {
        "failed" if record.instance.is_empty() => {
            Err("no instance has failed, but the service as a whole".to_owned())
        }
        "failed" => Ok(record.instance.clone()),
        "candidate" => record.candidate.clone().ok_or_else(|| "there is no candidate".to_owned()),
        id => Ok(id.to_owned()),
    }
}

/// `$SERVICE`, `$INSTANCE` and `$CANDIDATE` filled in.
fn fill(record: &Failover, text: &str) -> String {
    text.replace("$SERVICE", &record.service)
        .replace("$INSTANCE", &record.instance)
        .replace("$CANDIDATE", record.candidate.as_deref().unwrap_or_default())
}

/// So many milliseconds.
fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The key of a step.
fn key(run: &Run<'_>, at: usize) -> String {
    plan::key(run.policy, &run.failover.record, at)
}
