//! An instance is left out of answers, or is not any more: DNS, service discovery and `healthy=true` follow one key.
//!
//! What was before is in the journal, so that undoing it takes in nobody whom a person has left out, and leaves out nobody
//! who was in.

use watchkeep_catalog::{
    Drain, Failover, FailoverStep, KeyValue,
    client::{Compare, Op},
    keys,
};

use super::{Deposed, Outcome, Run, plan::remember, whom};
use crate::{clock, config::Whom, store::Extra};

/// Under this and the instance's id the journal keeps what was before: who had drained it, or nothing.
const BEFORE: &str = "drain of ";

/// Leaves it out.
pub(super) async fn drain(run: &mut Run<'_>, at: usize, config: &Whom) -> Result<Outcome, Deposed> {
    Ok(drained(run, at, config).await.unwrap_or_else(Outcome::Failed))
}

async fn drained(run: &mut Run<'_>, at: usize, config: &Whom) -> Result<Outcome, String> {
    let record = &run.failover.record;
    let instance = whom(record, config)?;
    let about = format!("{}/{instance}", record.service);
    if record.rehearsal {
        return Ok(Outcome::done(format!("it would drain {about}")));
    }
    let (key, before) = (keys::drain(&record.service, &instance), format!("{BEFORE}{instance}"));
    let known = get(run, &key).await?;
    if let Some(known) = known {
        let step = &mut run.record().steps[at];
        remember(step, before, None);
        return Ok(Outcome::done(format!("{about} is drained already, by {}", by(&known))));
    }
    let drain = Drain {
        service: record.service.clone(),
        instance,
        since: clock::now(),
        by: record.id.clone(),
        reason: record.reason.clone(),
    };
    let extra = Extra {
        when: vec![Compare::mod_revision(&key, 0)],
        then: vec![Op::put_json(&key, &drain).map_err(|error| error.to_string())?],
        acts: true,
    };
    remember(&mut run.record().steps[at], before, Some(String::new()));
    Ok(Outcome::with(format!("{about} is drained"), extra))
}

/// Takes it in again.
pub(super) async fn undrain(
    run: &mut Run<'_>,
    at: usize,
    config: &Whom,
) -> Result<Outcome, Deposed> {
    Ok(undrained(run, at, config).await.unwrap_or_else(Outcome::Failed))
}

async fn undrained(run: &mut Run<'_>, at: usize, config: &Whom) -> Result<Outcome, String> {
    let record = &run.failover.record;
    let instance = whom(record, config)?;
    let about = format!("{}/{instance}", record.service);
    if record.rehearsal {
        return Ok(Outcome::done(format!("it would undrain {about}")));
    }
    let (key, before) = (keys::drain(&record.service, &instance), format!("{BEFORE}{instance}"));
    let known = get(run, &key).await?;
    let step = &mut run.record().steps[at];
    let Some(known) = known else {
        remember(step, before, None);
        return Ok(Outcome::done(format!("{about} is not drained")));
    };
    remember(step, before, String::from_utf8(known.value.to_vec()).ok());
    let extra = Extra {
        when: vec![Compare::mod_revision(&key, known.mod_revision)],
        then: vec![Op::delete(&key)],
        acts: true,
    };
    Ok(Outcome::with(format!("{about} is not drained any more"), extra))
}

/// Makes it as it was before step `undone`, unless somebody has changed it since.
pub(super) async fn undo(run: &mut Run<'_>, undone: usize) -> Result<Outcome, Deposed> {
    Ok(as_before(run, undone).await.unwrap_or_else(Outcome::Failed))
}

async fn as_before(run: &Run<'_>, undone: usize) -> Result<Outcome, String> {
    let record = &run.failover.record;
    let (mut extra, mut said) = (Extra { acts: true, ..Extra::default() }, Vec::new());
    for (instance, was) in moved(&record.steps[undone]) {
        let (key, about) =
            (keys::drain(&record.service, instance), format!("{}/{instance}", record.service));
        let now = get(run, &key).await?;
        let revision = now.as_ref().map_or(0, |kv| kv.mod_revision);
        match restored(record, &key, was, now.as_ref()) {
            Ok(op) => {
                extra.when.push(Compare::mod_revision(&key, revision));
                extra.then.push(op);
                said.push(format!("{about} is as it was"));
            }
            Err(why) => said.push(format!("{about} {why}")),
        }
    }
    match said.is_empty() {
        true => Ok(Outcome::done("nothing was changed")),
        false => Ok(Outcome::with(said.join("; "), extra)),
    }
}

/// The instances that a step has drained or undrained, and what was before.
fn moved(step: &FailoverStep) -> impl Iterator<Item = (&str, &str)> {
    let before = step.before.iter();
    before.filter_map(|(what, was)| Some((what.strip_prefix(BEFORE)?, was.as_str())))
}

/// What makes it as it was; `Err`: why it is left as it is.
fn restored(record: &Failover, key: &str, was: &str, now: Option<&KeyValue>) -> Result<Op, String> {
    match (was, now) {
        ("", None) => Err("is not drained any more".to_owned()),
        ("", Some(now)) if by(now) == record.id => Ok(Op::delete(key)),
        ("", Some(now)) => Err(format!("is drained by {}", by(now))),
        (was, None) => Ok(Op::put(key, was.to_owned(), 0)),
        (_, Some(now)) => Err(format!("is drained again, by {}", by(now))),
    }
}

async fn get(run: &Run<'_>, key: &str) -> Result<Option<KeyValue>, String> {
    run.context.client.get(key).await.map_err(|error| error.to_string())
}

/// Who drained it.
fn by(drained: &KeyValue) -> String {
    drained.json::<Drain>().map_or_else(|_| "somebody".to_owned(), |drain| drain.by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    #[test]
    fn only_what_it_did_itself_is_undone() {
        let record = Failover::new("f".to_owned(), "p", "db", "one", time(0));
        let key = keys::drain("db", "one");
        let drained = |by: &str| {
            let (service, instance) = ("db".to_owned(), "one".to_owned());
            let (by, reason) = (by.to_owned(), String::new());
            let drain = Drain { service, instance, since: time(0), by, reason };
            let value = serde_json::to_vec(&drain).unwrap().into();
            let (create_revision, mod_revision) = (3, 4);
            KeyValue {
                key: key.clone(),
                value,
                create_revision,
                mod_revision,
                version: 1,
                lease: 0,
            }
        };
        let (own, alice) = (drained("f"), drained("alice"));
        for (was, now, undone) in [
            ("", Some(&own), true),
            ("", Some(&alice), false),
            ("", None, false),
            ("{}", None, true),
            ("{}", Some(&alice), false),
        ] {
            assert_eq!(restored(&record, &key, was, now).is_ok(), undone, "{was:?} {now:?}");
        }
        let mut step = FailoverStep::default();
        remember(&mut step, format!("{BEFORE}one"), Some(String::new()));
        assert_eq!(moved(&step).collect::<Vec<_>>(), [("one", "")]);
        // Somebody was faster: then there is nothing to undo.
        remember(&mut step, format!("{BEFORE}one"), None);
        assert_eq!(moved(&step).count(), 0);
        // With the next candidate what was before the first counts.
        remember(&mut step, "x".to_owned(), Some("first".to_owned()));
        step.round = 1;
        remember(&mut step, "x".to_owned(), Some("second".to_owned()));
        assert_eq!(step.before["x"], "first");
    }
}
