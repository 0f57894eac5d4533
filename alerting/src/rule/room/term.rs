//! One term of leadership: state is taken over from the registry, every group gets its task, and a reload hands the
//! states of the old groups to the new ones. Between terms, while the registry is lost, a node may evaluate alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Shared,
    alone::{self, Last, Teller},
    group::{self, Carried, Office},
    lock,
};
use crate::{
    alertmanager::Alertmanager,
    clock,
    rule::{
        evaluate::{GroupState, Sink},
        group_id, registry, rule_id,
        state::{self, Written},
    },
};

/// Pause after the registry did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Evaluates in every term, and while the registry is lost. `term` holds the create
/// revision of the leader's key while this node leads.
pub(super) async fn lead(
    shared: &Arc<Shared>,
    mut term: watch::Receiver<Option<i64>>,
    alertmanager: Option<&Alertmanager>,
) {
    // Where there is an Alertmanager it says whether the registry is lost, else who calls people does.
    let never = watch::Sender::new(false);
    let mut lost = alertmanager.map_or_else(|| never.subscribe(), Alertmanager::lost);
    let mut cut_off = shared.context.alone.cut_off();
    let mut last = Last::default();
    loop {
        let fence = *term.borrow_and_update();
        let is_lost = *lost.borrow_and_update();
        let known = cut_off.borrow_and_update().clone();
        if let Some(fence) = fence {
            tokio::select! {
                () = serve(shared, fence) => {}
                _ = term.changed() => {}
            }
            last = Last::new(std::mem::take(&mut *lock(&shared.states)));
            shared.metrics.forget();
            if *term.borrow() == Some(fence) {
                // The registry knows another leader; the election will tell.
                tokio::time::sleep(PAUSE).await;
            }
            continue;
        }
        let teller = match alertmanager {
            Some(alertmanager) => is_lost.then(|| Teller::Alertmanager(alertmanager.clone())),
            None => known.filter(|_| shared.settings.opens_incidents).map(Teller::People),
        };
        let alone = async {
            match &teller {
                Some(teller) => alone::serve(shared, teller, &mut last).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = alone => return,
            changed = term.changed() => if changed.is_err() { return },
            changed = lost.changed() => if changed.is_err() { return },
            changed = cut_off.changed() => if changed.is_err() { return },
        }
        lock(&shared.states).clear();
        shared.metrics.forget();
    }
}

/// One term, until this node is fenced off.
async fn serve(shared: &Arc<Shared>, fence: i64) {
    let mut kept = loop {
        match registry::read(&shared.context.client).await {
            Ok(kept) => break kept,
            Err(error) => {
                warn!(%error, "active alerts not read, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let mut carried = BTreeMap::new();
    let mut loaded = shared.loaded.subscribe();
    loop {
        let groups = Arc::clone(&loaded.borrow_and_update()).groups.clone();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for group in groups {
            let id = group_id(&group);
            let carried = match carried.remove(&id) {
                Some(old) => adopt(group, old),
                None => {
                    let written = kept.remove(&id).unwrap_or_default();
                    let state = state::restore(&group, &written);
                    Carried::new(group, state, written)
                }
            };
            let office = Office::Leader(fence);
            tasks.spawn(group::run(Arc::clone(shared), office, carried, stop.clone()));
        }
        // What no rule asks for any more has ended.
        let gone = std::mem::take(&mut kept).into_iter();
        let gone = gone.chain(carried.into_iter().map(|(id, old)| (id, leave(shared, old))));
        for (id, written) in gone {
            lock(&shared.states).remove(&id);
            end(shared, fence, &id, &written).await;
        }
        tokio::select! {
            _ = loaded.changed() => {}
            () = fenced(&mut tasks) => return,
        }
        stop.cancel();
        carried = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            if let Ok(Some(old)) = done {
                carried.insert(group_id(&old.group), old);
            }
        }
    }
}

/// Resolves when a group's task ends by itself: this node does not lead any more.
async fn fenced(tasks: &mut JoinSet<Option<Carried>>) {
    match tasks.join_next().await {
        Some(Err(error)) if error.is_panic() => error!(%error, "a group's evaluation broke off"),
        Some(_) => {}
        None => std::future::pending().await,
    }
}

/// A group that was loaded anew takes over the states of the rules that mean the same.
fn adopt(group: crate::rule::Group, old: Carried) -> Carried {
    let mut states = BTreeMap::new();
    for (at, state) in old.state.rules.into_iter().enumerate() {
        states.insert(rule_id(&old.group, at), state);
    }
    let mut state = GroupState::new(&group);
    for (at, rule) in state.rules.iter_mut().enumerate() {
        if let Some(known) = states.remove(&rule_id(&group, at)) {
            *rule = known;
        }
    }
    state.evaluated_at_ms = old.state.evaluated_at_ms;
    let mut carried = Carried::new(group, state, old.written);
    carried.reported = old.reported;
    // Series of rules that are gone.
    carried.orphans = states.into_values().flat_map(|rule| rule.series).collect();
    carried
}

/// A group is gone: its series end. What is written of it is still to be ended.
fn leave(shared: &Arc<Shared>, old: Carried) -> Written {
    let ends = old.state.end(clock::now().timestamp_millis());
    if !ends.is_empty() {
        let (_, sink) = shared.environment();
        tokio::task::spawn_blocking(move || {
            if let Err(message) = sink.write(ends) {
                warn!(message, "series of a removed group are not ended; they end by themselves");
            }
        });
    }
    old.written
}

async fn end(shared: &Arc<Shared>, fence: i64, id: &str, written: &Written) {
    let now = clock::now();
    let changes: Vec<_> =
        written.iter().map(|(key, known)| state::ended(key, known, now)).collect();
    for change in &changes {
        drop(group::resolve(shared, fence, change, now).await);
    }
    if let (_, Err(error)) = registry::write(&shared.context.client, fence, id, &changes, 0).await {
        warn!(%error, group = id, "alerts of a removed group are not ended; the next leader ends them");
    }
}
