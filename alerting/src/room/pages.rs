//! Which pages go out now: each by itself, or, where a person would get too many at once, all that wait in one message. What
//! becomes one message is written down before it is sent, in one transaction.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tracing::warn;
use watchkeep_catalog::{
    Client, Incident, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Done, EFFECTS_MAX, Effect, Room};
use crate::{
    config::RateLimit,
    incident,
    mirror::Versioned,
    notify::{self, Part},
    throttle::{Sent, Turn, Way},
};

/// Pages in one message: etcd takes 128 operations at once, and nobody reads more.
const PARTS_MAX: usize = 100;
/// Pause after a transaction that was not applied, before it is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

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
                    let part = Part { incident: incident.clone(), page: page_id.clone() };
                    summaries.entry(summary.clone()).or_default().push(part);
                } else if limit.is_some() && self.rules.is_person(&way.0) {
                    waiting.entry(way).or_default().push((id.clone(), page_id.clone()));
                } else {
                    single.push((id.clone(), page_id.clone(), way));
                }
            }
        }
        for (summary, parts) in summaries {
            self.send_summary(fence, summary, parts);
        }
        if let Some(limit) = limit {
            single.extend(self.throttle(fence, limit, waiting, now));
        }
        for (id, page, way) in single {
            self.send_page(fence, id, page, way);
        }
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
            let under_way = self.running.iter().filter(|effect| effect.is_to(&way)).count();
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

    fn send_page(&mut self, fence: i64, id: String, page: String, way: Way) {
        if self.running.len() >= EFFECTS_MAX {
            return;
        }
        let Some(incident) = self.mirror.incidents.get(&id).cloned() else { return };
        let (context, parent) = (Arc::clone(&self.context), self.trace_parent(&incident.record));
        let effect = Effect::Page(id, way.0, way.1);
        self.running.insert(effect.clone());
        self.tasks.spawn(async move {
            let done = notify::deliver(context, fence, incident, page, parent).await;
            Done::Paged(effect, done.map(Box::new))
        });
    }

    fn send_summary(&mut self, fence: i64, summary: String, parts: Vec<Part>) {
        let first = parts.first().and_then(|part| {
            let page = part.incident.record.pages.iter().find(|page| page.id == part.page)?;
            Some((page.receiver.clone(), page.channel.clone()))
        });
        let Some(way) = first else { return };
        let effect = Effect::Summary(summary.clone(), way.0, way.1);
        if self.running.len() >= EFFECTS_MAX || self.running.contains(&effect) {
            return;
        }
        let context = Arc::clone(&self.context);
        self.running.insert(effect.clone());
        self.tasks.spawn(async move {
            Done::Summarised(effect, notify::deliver_summary(context, fence, summary, parts).await)
        });
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

/// Writes down what becomes one message, if this node leads and nobody has changed any of the incidents; else the watch
/// tells what they are now.
async fn commit(
    client: &Client,
    fence: i64,
    summary: &str,
    parts: Vec<Part>,
) -> Vec<Versioned<Incident>> {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    let mut changed = Vec::new();
    for Part { mut incident, page } in parts {
        if !incident::join_summary(&mut incident.record, &page, summary) {
            continue;
        }
        let key = keys::incident(&incident.record.id);
        let Ok(put) = Op::put_json(&key, &incident.record) else { continue };
        txn = txn.when(Compare::mod_revision(&key, incident.mod_revision)).then(put);
        changed.push(incident);
    }
    match client.txn(txn).await {
        Ok(outcome) if outcome.succeeded => {
            for incident in &mut changed {
                incident.mod_revision = outcome.revision;
            }
            return changed;
        }
        Ok(_) => {}
        Err(error) => warn!(summary, %error, "a summary is not known to be written"),
    }
    tokio::time::sleep(PAUSE).await;
    Vec::new()
}
