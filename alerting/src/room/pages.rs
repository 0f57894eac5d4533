//! Which pages go out now: each by itself, or, where a person would get too many at once, all that wait in one message. What
//! becomes one message is written down before it is sent, in one transaction.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use tracing::{error, warn};
use watchkeep_catalog::{
    Client, ClientError, Incident, PageState, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Done, EFFECTS_MAX, Effect, Room};
use crate::{
    config::RateLimit,
    incident,
    mirror::{Mirror, Target, Versioned},
    notify::{self, Part, Ticket},
    store,
    throttle::{Sent, Turn, Way},
};

/// Pages in one message: etcd takes 128 operations at once, and nobody reads more.
const PARTS_MAX: usize = 100;
/// Bytes of their incidents, which are written in one transaction: the registry takes 1.5 MiB.
const PARTS_BYTES_MAX: usize = 1 << 20;
/// Pause after a transaction that was not applied, before it is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// A delivery that panics is begun again after this time: at once it would perhaps panic for ever, and never is worse.
const BROKEN_PAUSE: Duration = Duration::from_secs(60);

/// Pages by the way they go, oldest incident first.
type Waiting = BTreeMap<Way, Vec<(String, String)>>;

impl Room {
    pub(super) fn start_pages(&mut self, fence: i64, now: Time) {
        let limit = self.rules.pages.rate_limit;
        let (mut waiting, mut summaries) = (Waiting::new(), BTreeMap::<String, Vec<Part>>::new());
        let mut single = Vec::new();
        for id in &self.mirror.pages_pending {
            let Some(incident) = self.mirror.incidents.get(id) else { continue };
            for page in incident::next_pages(&incident.record, now) {
                let (way, page_id) = ((page.receiver.clone(), page.channel.clone()), &page.id);
                if self.running.contains(&Effect::Page(id.clone(), way.0.clone(), way.1.clone())) {
                    continue;
                }
                if let Some(summary) = &page.summary {
                    // Others may be about to join it.
                    if self.running.contains(&Effect::Gather(way.0, way.1)) {
                        continue;
                    }
                    let part = Part { incident: incident.clone(), page: page_id.clone() };
                    summaries.entry(summary.clone()).or_default().push(part);
                } else if limit.is_some() && self.rules.is_person(&way.0) {
                    waiting.entry(way).or_default().push((id.clone(), page_id.clone()));
                } else {
                    single.push((id.clone(), page_id.clone(), way));
                }
            }
        }
        if let Some(limit) = limit {
            single.extend(self.throttle(fence, limit, waiting, now));
        }
        // All that another leader tried in vain are in line before any is tried again.
        let together: Vec<_> = summaries
            .into_iter()
            .filter_map(|(summary, parts)| Some((self.summary_ticket(&summary, &parts)?, parts)))
            .collect();
        let mut each: Vec<_> = single
            .into_iter()
            .filter_map(|(id, page, way)| {
                Some((self.page_ticket(&id, &page, &way)?, id, page, way))
            })
            .collect();
        each.sort_by(|(one, ..), (other, ..)| one.place().cmp(other.place()));
        for ((summary, way, ticket), parts) in together {
            self.send_summary(fence, (summary, way), parts, ticket);
        }
        for (ticket, id, page, way) in each {
            self.send_page(fence, (id, page), way, ticket);
        }
    }

    fn page_ticket(&mut self, id: &str, page: &str, way: &Way) -> Option<Ticket> {
        let incident = &self.mirror.incidents.get(id)?.record;
        let was_tried = incident.pages.iter().any(|p| p.id == page && p.attempts > 0);
        let place = (incident.opened_at, format!("{id}/{page}"));
        Some(self.lines.ticket(&self.context.id, way, place, was_tried))
    }

    /// The message's place is that of its oldest page.
    fn summary_ticket(&mut self, summary: &str, parts: &[Part]) -> Option<(String, Way, Ticket)> {
        let page = |part: &Part| {
            part.incident.record.pages.iter().find(|page| page.id == part.page).cloned()
        };
        let first = parts.first().and_then(page)?;
        let way = (first.receiver, first.channel);
        let effect = Effect::Summary(summary.to_owned(), way.0.clone(), way.1.clone());
        if self.running.contains(&effect) {
            return None;
        }
        let oldest = parts.iter().map(|part| part.incident.record.opened_at).min()?;
        let was_tried = parts.iter().filter_map(page).any(|page| page.attempts > 0);
        let place = (oldest, summary.to_owned());
        let ticket = self.lines.ticket(&self.context.id, &way, place, was_tried);
        Some((summary.to_owned(), way, ticket))
    }

    /// Those that go by themselves; what is too much begins to become one message.
    fn throttle(
        &mut self,
        fence: i64,
        limit: RateLimit,
        waiting: Waiting,
        now: Time,
    ) -> Vec<(String, String, Way)> {
        let mut single = Vec::new();
        for (way, mut pages) in waiting {
            let summary = Effect::Gather(way.0.clone(), way.1.clone());
            if self.running.contains(&summary) {
                continue;
            }
            // A way that does not work must not hold up the pages that wait for it: only one that was tried goes other ways.
            let counts =
                |effect: &&Effect| effect.is_to(&way) && !is_tried_again(&self.mirror, effect);
            let under_way = self.running.iter().filter(counts).count();
            let counts = (pages.len(), under_way);
            match self.sent(limit, now).turn(limit, &way, counts, now) {
                Turn::Wait => {}
                Turn::Each => {
                    single.extend(pages.into_iter().map(|(id, page)| (id, page, way.clone())));
                }
                Turn::Together => {
                    let opened =
                        |id: &str| self.mirror.incidents.get(id).map(|i| i.record.opened_at);
                    pages.sort_by_key(|(id, _)| opened(id));
                    pages.truncate(PARTS_MAX);
                    self.gather(fence, summary, pages, now);
                }
            }
        }
        single
    }

    /// What was sent lately; a new leader reads it in the incidents.
    fn sent(&mut self, limit: RateLimit, now: Time) -> &mut Sent {
        self.sent.get_or_insert_with(|| {
            let mut sent = Sent::default();
            for incident in self.mirror.incidents.values() {
                sent.learn(&incident.record, limit, now);
            }
            sent
        })
    }

    fn gather(&mut self, fence: i64, effect: Effect, pages: Vec<(String, String)>, now: Time) {
        let part = |(id, page): (String, String)| {
            Some(Part { incident: self.mirror.incidents.get(&id)?.clone(), page })
        };
        let parts: Vec<Part> = pages.into_iter().filter_map(part).collect();
        let Some(first) = parts.first() else { return };
        let seed =
            format!("{}/{}/{}", first.incident.record.id, first.page, now.timestamp_micros());
        let summary = format!("together-{}", &incident::digest(&seed)[..16]);
        let context = Arc::clone(&self.context);
        self.running.insert(effect.clone());
        self.tasks.spawn(async move {
            Done::Gathered(effect, commit(&context.client, fence, &summary, parts).await)
        });
    }

    fn send_page(&mut self, fence: i64, (id, page): (String, String), way: Way, ticket: Ticket) {
        if self.running.len() >= EFFECTS_MAX {
            return;
        }
        let Some(incident) = self.mirror.incidents.get(&id).cloned() else { return };
        let (context, parent) = (Arc::clone(&self.context), self.trace_parent(&incident.record));
        let effect = Effect::Page(id, way.0, way.1);
        self.running.insert(effect.clone());
        let paged = effect.clone();
        self.tasks.spawn(guarded(effect, BROKEN_PAUSE, async move {
            let done = notify::deliver(context, fence, incident, page, parent, ticket).await;
            Done::Paged(paged, done.map(Box::new))
        }));
    }

    fn send_summary(
        &mut self,
        fence: i64,
        (summary, way): (String, Way),
        parts: Vec<Part>,
        ticket: Ticket,
    ) {
        if self.running.len() >= EFFECTS_MAX {
            return;
        }
        let effect = Effect::Summary(summary.clone(), way.0, way.1);
        let context = Arc::clone(&self.context);
        self.running.insert(effect.clone());
        let sent = effect.clone();
        self.tasks.spawn(guarded(effect, BROKEN_PAUSE, async move {
            let done = notify::deliver_summary(context, fence, summary, parts, ticket).await;
            Done::Summarised(sent, done)
        }));
    }

    /// The trace of the fault behind an incident: its failover's, else the verdict's.
    fn trace_parent(&self, incident: &Incident) -> Option<String> {
        let failover = incident.failover.as_ref().and_then(|id| self.mirror.failovers.get(id));
        if let Some(failover) = failover {
            return failover.record.trace_parent.clone();
        }
        let (service, instance) =
            (incident.labels.get("service")?, incident.labels.get("instance")?);
        let verdict = self.mirror.verdicts.get(&Target::new(service, instance))?;
        verdict.record.trace_parent.clone()
    }
}

impl Effect {
    /// Whether it is a message that goes this way.
    fn is_to(&self, way: &Way) -> bool {
        match self {
            Self::Page(_, receiver, channel) | Self::Summary(_, receiver, channel) => {
                (receiver, channel) == (&way.0, &way.1)
            }
            Self::Failover(_) | Self::Gather(..) => false,
        }
    }
}

/// What a delivery comes to, whatever it stumbles over.
async fn guarded(
    effect: Effect,
    pause: Duration,
    delivery: impl Future<Output = Done> + Send,
) -> Done {
    if let Ok(done) = AssertUnwindSafe(delivery).catch_unwind().await {
        return done;
    }
    error!(?effect, "a delivery broke off; it is begun again");
    tokio::time::sleep(pause).await;
    Done::BrokeOff(effect)
}

/// Whether what is under way has failed before.
fn is_tried_again(mirror: &Mirror, effect: &Effect) -> bool {
    let failed = |incident: &Incident, summary: Option<&String>, way: (&String, &String)| {
        incident.pages.iter().any(|page| {
            let is_part = summary.is_none_or(|summary| page.summary.as_ref() == Some(summary));
            let is_tried = page.state == PageState::Pending && page.attempts > 0;
            is_part && is_tried && (&page.receiver, &page.channel) == way
        })
    };
    match effect {
        Effect::Page(id, receiver, channel) => {
            let incident = mirror.incidents.get(id);
            // Where there is none any more, nothing is sent.
            incident.is_none_or(|found| failed(&found.record, None, (receiver, channel)))
        }
        Effect::Summary(summary, receiver, channel) => {
            let mut pending = mirror.pages_pending.iter().filter_map(|id| mirror.incidents.get(id));
            pending.any(|found| failed(&found.record, Some(summary), (receiver, channel)))
        }
        Effect::Failover(_) | Effect::Gather(..) => false,
    }
}

/// Writes down what becomes one message, as far as it fits into one transaction, while this node leads. Answers with the
/// incidents that are known by it; the watch tells of the others what they are now.
async fn commit(
    client: &Client,
    fence: i64,
    summary: &str,
    parts: Vec<Part>,
) -> Vec<Versioned<Incident>> {
    let size = |part: &Part| serde_json::to_vec(&part.incident.record).map_or(0, |json| json.len());
    let first = store::parts(&parts, PARTS_MAX, PARTS_BYTES_MAX, size).into_iter().next();
    let parts = first.unwrap_or_default();
    match commit_at_once(client, fence, summary, parts).await {
        Ok(Some(changed)) => return changed,
        Ok(None) => {}
        Err(error) => warn!(summary, %error, "a summary is not known to be written"),
    }
    // In a storm one of a hundred changes all the time, or it is refused: it must not hold up the others.
    let joins = parts.iter().map(|Part { incident, page }| async move {
        let join = |incident: &mut Incident| Ok(incident::join_summary(incident, page, summary));
        store::update_incident(client, Some(fence), &incident.record.id, join).await.ok()
    });
    let joined: Vec<_> = join_all(joins).await.into_iter().flatten().collect();
    if joined.is_empty() {
        tokio::time::sleep(PAUSE).await;
    }
    joined
}

/// All of them, if nobody has changed any; none: somebody has, or another node leads.
async fn commit_at_once(
    client: &Client,
    fence: i64,
    summary: &str,
    parts: &[Part],
) -> Result<Option<Vec<Versioned<Incident>>>, ClientError> {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    let mut changed = Vec::new();
    for Part { incident, page } in parts {
        let mut incident = incident.clone();
        if !incident::join_summary(&mut incident.record, page, summary) {
            continue;
        }
        let key = keys::incident(&incident.record.id);
        let put = Op::put_json(&key, &incident.record)?;
        txn = txn.when(Compare::mod_revision(&key, incident.mod_revision)).then(put);
        changed.push(incident);
    }
    let outcome = client.txn(txn).await?;
    if !outcome.succeeded {
        return Ok(None);
    }
    for incident in &mut changed {
        incident.mod_revision = outcome.revision;
    }
    Ok(Some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, time},
        incident::{PageOutcome, join_summary, page_attempted},
    };

    #[tokio::test]
    async fn a_delivery_that_panics_is_begun_again() {
        let effect = || Effect::Page("i".to_owned(), "alice".to_owned(), "email".to_owned());
        let odd: Vec<f64> = Vec::new();
        let broken = async move { Done::Burned(String::new(), Some(odd[1])) };
        let done = guarded(effect(), Duration::ZERO, broken).await;
        assert!(matches!(done, Done::BrokeOff(broken) if broken == effect()));
        let whole = guarded(effect(), Duration::ZERO, async { Done::Marked }).await;
        assert!(matches!(whole, Done::Marked));
    }

    #[test]
    fn what_failed_before_does_not_count_as_under_way() {
        let mut mirror = Mirror::default();
        let mut incident = opened_incident();
        let (id, page) = (incident.id.clone(), incident.pages[0].clone());
        let enter = |mirror: &mut Mirror, record: &Incident, revision| {
            let (create_revision, mod_revision) = (1, revision);
            let incident = Versioned { record: record.clone(), create_revision, mod_revision };
            mirror.set_incident(&record.id, incident);
        };
        let way = || (page.receiver.clone(), page.channel.clone());
        let single = Effect::Page(id.clone(), way().0, way().1);
        let other = Effect::Page(id, "somebody".to_owned(), way().1);
        let summary = Effect::Summary("s".to_owned(), way().0, way().1);
        assert!(is_tried_again(&mirror, &single), "its incident is gone");
        enter(&mut mirror, &incident, 1);
        assert!(!is_tried_again(&mirror, &single));
        let failed = PageOutcome::Retry("connection refused".to_owned());
        page_attempted(&mut incident, &page.id, 1, &failed, time(1));
        enter(&mut mirror, &incident, 2);
        assert!(is_tried_again(&mirror, &single) && !is_tried_again(&mirror, &other));
        assert!(!is_tried_again(&mirror, &summary), "it is no part of it");
        join_summary(&mut incident, &page.id, "s");
        enter(&mut mirror, &incident, 3);
        assert!(is_tried_again(&mirror, &summary));
    }
}
