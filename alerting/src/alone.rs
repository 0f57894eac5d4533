//! People are called without the registry: whoever would be called first is called directly, once. There is no incident
//! that somebody could take, so nobody else is called after a while. That the registry itself is lost, and what rules find
//! meanwhile ([`found`]), is told in this way where no Alertmanager tells it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use watchkeep_catalog::{Incident, LabelSet, Time};

use crate::{
    clock,
    context::Context,
    escalation::{RoundRobin, advance},
    incident::{self, Finding, PageOutcome, WATCHKEEP, digest, next_pages, opened},
    lost::Ear,
    notify::attempt,
    oncall::Changes,
};

mod found;

pub(crate) use found::Known;

/// The alert of a node that has lost the registry; it has a runbook of this name.
pub(crate) const REGISTRY_LOST: &str = "WatchkeepRegistryLost";
/// What the ids of incidents begin with that no registry knows.
const PREFIX: &str = "alone-";
const SEVERITY: &str = "critical";
/// A registry that comes and goes calls nobody more often; nor is anybody tried more often who is not reached.
const AGAIN: Duration = Duration::from_mins(1);

/// What a node knows by itself of whom it called and whom it would call.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// By the keys of what they were called for; once each, until the registry is back.
    called: Mutex<BTreeMap<String, Incident>>,
    /// What people changed in schedules, as the registry had it last; none: it was never heard.
    changes: Mutex<Option<Changes>>,
    /// What rules find.
    desk: Mutex<found::Desk>,
    /// Something fires, or does not any more.
    news: Notify,
    /// Whether the registry is lost and people are to know, where no Alertmanager says it.
    lost: watch::Sender<bool>,
    /// The same with what was known by then: for whoever goes on without the registry.
    cut_off: watch::Sender<Option<Arc<Known>>>,
}

impl Alone {
    /// Whom people have put on call; it is remembered for when the registry cannot be asked.
    pub(crate) fn learn(&self, changes: &Changes) {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes.clone());
    }

    /// What people changed in schedules, as it was known last; none: the registry was never heard.
    pub(crate) fn changes(&self) -> Option<Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the registry is lost.
    pub(crate) fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// While it is lost: what was known when it was.
    pub(crate) fn cut_off(&self) -> watch::Receiver<Option<Arc<Known>>> {
        self.cut_off.subscribe()
    }

    /// Says what is known now that it is lost; none: it is there.
    pub(crate) fn remember(&self, known: Option<Known>) {
        self.cut_off.send_replace(known.map(Arc::new));
    }

    fn called(&self) -> MutexGuard<'_, BTreeMap<String, Incident>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of an incident that no registry knows.
pub(crate) fn unknown_id(key: &str) -> String {
    format!("{PREFIX}{}", &digest(key)[..8])
}

/// Whether no registry knows an incident: nobody can look at it or take it.
pub(crate) fn is_unknown(incident: &Incident) -> bool {
    incident.id.starts_with(PREFIX)
}

/// Labels and annotations of the alert that says that this node has lost the registry. They are those of the rule that is
/// shipped, so that both are one alert.
pub(crate) fn loss(context: &Context, silent: Duration) -> (LabelSet, LabelSet) {
    let url = url::Url::parse(&context.node_url).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let instance = host.map_or_else(|| context.id.clone(), |(host, port)| format!("{host}:{port}"));
    let labels = [
        ("alertname", REGISTRY_LOST),
        ("instance", instance.as_str()),
        ("job", WATCHKEEP),
        ("severity", SEVERITY),
    ];
    let annotations = [
        ("summary", format!("{} has lost the registry", context.id)),
        (
            "description",
            format!(
                "No answer for {} s. Until it is back nothing is decided here: no verdict, no failover, no incident.",
                silent.as_secs()
            ),
        ),
        ("runbook_url", format!("{}/runbooks/{REGISTRY_LOST}", context.url)),
    ];
    let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    let named = |(name, text): (&str, String)| (name.to_owned(), text);
    (labels.map(owned).into(), annotations.map(named).into())
}

/// Calls whoever would be called first, once for each key; true when somebody was reached.
pub(crate) async fn call(context: &Context, key: &str, finding: &Finding, now: Time) -> bool {
    if context.alone.called().contains_key(key) {
        return true;
    }
    let mut rules = context.rules.clone();
    rules.changes = context.alone.changes().unwrap_or_default();
    let mut record = opened(finding, &rules, now);
    // The same on every node, and so is the key of each page.
    record.id = unknown_id(key);
    let why = match finding.alert.as_str() {
        REGISTRY_LOST => "you may be told twice",
        _ => "the registry is lost, you may be told twice",
    };
    record.title = format!("{} ({why})", record.title);
    advance(&mut record, &rules, &mut RoundRobin::default(), now);
    let reached = send(context, &mut record, now).await;
    if reached {
        context.alone.called().insert(key.to_owned(), record);
    }
    reached
}

/// One attempt for each page that is due, all at once; true when one was taken.
async fn send(context: &Context, record: &mut Incident, now: Time) -> bool {
    let asked = &*record;
    let pages = next_pages(asked, now).into_iter().map(|page| async move {
        match attempt(context, asked, page).await {
            Ok(()) => (page.id.clone(), PageOutcome::Delivered),
            Err(error) => {
                warn!(receiver = page.receiver, error, "not called without the registry");
                (page.id.clone(), PageOutcome::GivenUp(error))
            }
        }
    });
    let outcomes = join_all(pages).await;
    for (page, outcome) in &outcomes {
        incident::page_attempted(record, page, 1, outcome, now);
    }
    outcomes.iter().any(|(_, outcome)| *outcome == PageOutcome::Delivered)
}

/// What people were called for is over: those who were called are told.
async fn over(context: &Context, key: &str, why: &str, now: Time) {
    let record = context.alone.called().remove(key);
    if let Some(mut record) = record
        && incident::resolve(&mut record, WATCHKEEP, why, now).is_ok()
    {
        send(context, &mut record, now).await;
    }
}

/// The registry is back. Of what an Alertmanager called people for it knows by now, but not that it was away, and not of what
/// rules found: that is told to those who were called for it.
pub(crate) async fn back(context: &Context, now: Time) {
    let called: Vec<_> = context
        .alone
        .called()
        .iter()
        .map(|(key, record)| (key.clone(), record.alert.clone()))
        .collect();
    for (key, alert) in called {
        match alert.as_str() {
            REGISTRY_LOST => over(context, &key, "the registry is back", now).await,
            _ if key.starts_with(found::KEYS) => over(context, &key, found::BACK, now).await,
            _ => drop(context.alone.called().remove(&key)),
        }
    }
}

/// Says that the registry is lost, and that it is back, where no Alertmanager does, and what rules find meanwhile; until `token`
/// is cancelled.
pub(crate) async fn watch(context: Arc<Context>, ear: Ear, token: CancellationToken) {
    tokio::select! {
        () = token.cancelled() => {}
        () = listen(&context, ear) => {}
        () = found::serve(&context) => {}
    }
}

async fn listen(context: &Arc<Context>, mut ear: Ear) {
    let mut since: Option<Time> = None;
    let mut tried: Option<Instant> = None;
    let mut reached = false;
    loop {
        let heard = ear.beat(context).await;
        let now = clock::now();
        match (heard.lost, since) {
            (true, None) => {
                warn!("the registry is lost: nothing is decided until it is back");
                (since, reached) = (Some(now), false);
            }
            (false, Some(_)) => {
                info!("the registry is back");
                since = None;
            }
            _ => {}
        }
        context.metrics.registry_lost.set(i64::from(heard.lost));
        if context
            .alone
            .lost
            .send_if_modified(|lost| std::mem::replace(lost, heard.alarming) != heard.alarming)
            && !heard.alarming
        {
            context.alone.clear();
            back(context, now).await;
        }
        let may = tried.is_none_or(|at| at.elapsed() >= AGAIN);
        if let Some(began) = since.filter(|_| heard.alarming && may && !reached) {
            tried = Some(Instant::now());
            let key = format!("{REGISTRY_LOST}/{}/{}", context.id, began.timestamp());
            reached = call(context, &key, &finding(context, ear.lost_after(), began), now).await;
        }
    }
}

fn finding(context: &Context, silent: Duration, began: Time) -> Finding {
    let (labels, details) = loss(context, silent);
    Finding {
        dedup_key: REGISTRY_LOST.to_owned(),
        title: details.get("summary").cloned().unwrap_or_default(),
        alert: REGISTRY_LOST.to_owned(),
        severity: SEVERITY.to_owned(),
        labels,
        details,
        source: WATCHKEEP.to_owned(),
        escalation: None,
        started_at: began,
    }
}
