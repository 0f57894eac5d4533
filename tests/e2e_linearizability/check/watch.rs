//! Watches: from its first revision on a watcher is shown every event that it asked for, once, in order, a revision
//! never in two parts, and no progress is told over what was not shown.

use std::collections::BTreeMap;

use crate::{
    history::{Batch, Event, History, Watch},
    truth::Truth,
};

/// Judges every watch, and that each watcher, over all its watches, came to the end.
pub(crate) fn check(history: &History, truth: &Truth) -> Vec<String> {
    let mut wrong: Vec<String> =
        history.watches.iter().filter_map(|w| one(w, truth).err()).collect();
    let mut reached: BTreeMap<&str, i64> = BTreeMap::new();
    for watch in &history.watches {
        let last = watch.batches.iter().map(Batch::through).max().unwrap_or_default();
        let reached = reached.entry(&watch.name).or_default();
        // Where the one before stopped, this one went on, or there is a gap.
        if watch.from > *reached + 1 && *reached > 0 {
            wrong.push(format!("{}: from {} after {reached}", watch.name, watch.from));
        }
        *reached = last.max(*reached);
    }
    for (name, reached) in reached {
        if reached < truth.newest() {
            wrong.push(format!("{name}: saw {reached}, there was {}", truth.newest()));
        }
    }
    wrong
}

fn one(watch: &Watch, truth: &Truth) -> Result<(), String> {
    let wanted = |event: &&Event| {
        event.kv.key.starts_with(&watch.prefix) && !(watch.no_delete && event.deleted)
    };
    let shown = |event: &Event| Event {
        prev: event.prev.clone().filter(|_| watch.prev_kv),
        ..event.clone()
    };
    let due: Vec<Event> = truth
        .revisions()
        .filter(|(revision, _)| *revision >= watch.from)
        .flat_map(|(_, events)| events.iter().filter(wanted).map(shown))
        .collect();
    let mut due = due.into_iter().peekable();
    let mut told = 0;
    for batch in &watch.batches {
        let through = batch.through();
        if through < told || batch.revision < through {
            return Err(format!("{}: {through} in {} after {told}", watch.name, batch.revision));
        }
        told = through;
        for event in &batch.events {
            let expected = due.next();
            if expected.as_ref() != Some(event) {
                return Err(format!("{}: {expected:?} was due, {event:?} came", watch.name));
            }
        }
        // The rest of a revision, or what lies below a revision that was told, is not coming any more.
        let missing = due.peek().filter(|next| next.kv.modified <= told);
        if let Some(missing) = missing {
            return Err(format!("{}: told of revision {told} without {missing:?}", watch.name));
        }
    }
    Ok(())
}
