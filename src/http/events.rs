//! Server-sent events: a reader is told what is there, then each change, and goes on where it was after a break.
//!
//! ```text
//! event: snapshot          event: instance        event: instance-gone         : revision 812
//! id: 801                  id: 807                id: 809
//! data: {…}                data: {…}              data: {"service":…,"id":…}
//! ```
//!
//! An id is a revision of the registry, so a stream may be resumed at any node. Only the last event of what changed
//! together carries one. Nothing is queued for a reader: it is told the difference between what it was shown and what
//! is there when it has taken the last piece; one that takes nothing for [`SLOW`] is cut.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use watchkeep_catalog::{Catalog, Seen, view::ServiceSeen};

use super::{
    asked::Asked,
    problem::Problem,
    reader::{Reader, Waiting},
    services::{List, Summary},
};

/// A reader that takes nothing for so long is cut.
const SLOW: Duration = Duration::from_secs(10);
/// How long a node that lags behind an event's id may take to catch up before it tells everything anew.
const CATCH_UP: Duration = Duration::from_secs(5);
/// What browsers wait before they connect again.
const RETRY: &str = "retry: 1000\n";

/// What a stream is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic {
    /// All services, counted.
    Services,
    /// One service and its instances.
    Service(String),
}

/// One event: its name and its data.
type Event = (&'static str, Value);

impl Topic {
    fn changed(&self, catalog: &Catalog) -> i64 {
        match self {
            Self::Services => catalog.changed(),
            Self::Service(name) => catalog.changed_of(name),
        }
    }

    /// Everything there is.
    fn whole(&self, catalog: &Catalog) -> Event {
        let data = match self {
            Self::Services => value(List::of(catalog)),
            Self::Service(name) => {
                let seen = catalog.service(name).cloned().unwrap_or_default();
                let instances: Vec<&Seen> = seen.instances.values().map(|seen| &**seen).collect();
                json!({"service": Summary::of(name, &seen), "instances": instances})
            }
        };
        ("snapshot", data)
    }

    /// What is different.
    fn between(&self, before: &Catalog, now: &Catalog) -> Vec<Event> {
        match self {
            Self::Services => services(before, now),
            Self::Service(name) => {
                let of = |catalog: &Catalog| catalog.service(name).cloned().unwrap_or_default();
                instances(name, &of(before), &of(now))
            }
        }
    }
}

fn value(data: impl Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_default()
}

fn services(before: &Catalog, now: &Catalog) -> Vec<Event> {
    let differences = before.services().diff(now.services());
    let event = |item: imbl::ordmap::DiffItem<'_, '_, Arc<str>, Arc<ServiceSeen>>| match item {
        imbl::ordmap::DiffItem::Add(name, seen) => {
            Some(("service", value(Summary::of(name, seen))))
        }
        imbl::ordmap::DiffItem::Update { old: (_, old), new: (name, new) } => {
            let (old, new) = (Summary::of(name, old), Summary::of(name, new));
            (old != new).then(|| ("service", value(new)))
        }
        imbl::ordmap::DiffItem::Remove(name, _) => Some(("service-gone", json!({"name": **name}))),
    };
    differences.filter_map(event).collect()
}

fn instances(name: &str, before: &ServiceSeen, now: &ServiceSeen) -> Vec<Event> {
    let differs = before.record != now.record || before.panic != now.panic;
    let record = differs.then(|| ("service", value(Summary::of(name, now))));
    let differences = before.instances.diff(&now.instances);
    let event = |item: imbl::ordmap::DiffItem<'_, '_, Arc<str>, Arc<Seen>>| match item {
        imbl::ordmap::DiffItem::Add(_, seen)
        | imbl::ordmap::DiffItem::Update { new: (_, seen), .. } => ("instance", value(&**seen)),
        imbl::ordmap::DiffItem::Remove(id, _) => {
            ("instance-gone", json!({"service": name, "id": **id}))
        }
    };
    record.into_iter().chain(differences.map(event)).collect()
}

/// The wire's form; the last event carries the id.
fn chunk(events: &[Event], id: i64) -> Bytes {
    let mut text = String::new();
    for (at, (name, data)) in events.iter().enumerate() {
        text.push_str(&format!("event: {name}\n"));
        if at + 1 == events.len() {
            text.push_str(&format!("id: {id}\n"));
        }
        text.push_str(&format!("data: {data}\n\n"));
    }
    Bytes::from(text)
}

/// Answers with a stream.
pub(super) async fn stream(
    reader: &Reader,
    topic: Topic,
    asked: &Asked,
) -> Result<Response, Problem> {
    reader.now().await?;
    let place = reader.place(&reader.metrics.streams)?;
    let (pieces, receiver) = mpsc::channel(1);
    let ended = Arc::new(OnceLock::new());
    let teller = Teller { reader: reader.clone(), topic, pieces, ended: ended.clone(), place };
    tokio::spawn(teller.run(asked.last_event, asked.heartbeat));
    let body = stream::unfold((receiver, ended, false), async |(mut receiver, ended, over)| {
        if over {
            return None;
        }
        match receiver.recv().await {
            Some(piece) => Some((Ok::<_, Infallible>(piece), (receiver, ended, false))),
            None => {
                let reason = ended.get()?;
                let last = format!("event: end\ndata: {}\n\n", json!({"reason": reason}));
                Some((Ok(Bytes::from(last)), (receiver, ended, true)))
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies of nginx's kind shall pass each event on at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Tells one reader.
struct Teller {
    reader: Reader,
    topic: Topic,
    pieces: mpsc::Sender<Bytes>,
    /// Why it ended, when it is not the reader who did.
    ended: Arc<OnceLock<&'static str>>,
    #[allow(dead_code, reason = "held as long as the stream is open")]
    place: Waiting,
}

impl Teller {
    async fn run(self, last_event: Option<i64>, heartbeat: Duration) {
        let (first, mut shown) = self.first(last_event).await;
        if !self.send(first).await {
            return;
        }
        loop {
            let since = self.topic.changed(&shown);
            let changed = |catalog: &Catalog| self.topic.changed(catalog) > since;
            let newer = tokio::select! {
                newer = self.reader.view.wait_for(heartbeat, changed) => newer,
                () = self.pieces.closed() => return,
                () = self.reader.stop.cancelled() => {
                    let _ = self.ended.set("this node stops: connect to another");
                    return;
                }
            };
            let piece = match newer {
                None => {
                    Bytes::from(format!(": revision {}\n\n", self.reader.view.now().revision()))
                }
                Some(newer) => {
                    let events = self.topic.between(&shown, &newer);
                    shown = newer;
                    chunk(&events, shown.revision())
                }
            };
            if !piece.is_empty() && !self.send(piece).await {
                return;
            }
        }
    }

    /// What is sent first, and what the reader has then been shown.
    async fn first(&self, last_event: Option<i64>) -> (Bytes, Catalog) {
        let view = &self.reader.view;
        let before = match last_event {
            Some(id) => {
                view.wait_for(CATCH_UP, |catalog| catalog.revision() >= id).await;
                view.at(id)
            }
            None => None,
        };
        let now = view.now();
        let events = match before {
            Some(before) => self.topic.between(&before, &now),
            None => vec![self.topic.whole(&now)],
        };
        let first =
            [RETRY.as_bytes(), b": watchkeep\n\n", &chunk(&events, now.revision())].concat();
        (Bytes::from(first), now)
    }

    /// Whether the reader took it.
    async fn send(&self, piece: Bytes) -> bool {
        match tokio::time::timeout(SLOW, self.pieces.send(piece)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.reader.metrics.cut.inc();
                let _ = self.ended.set("nothing was read for 10 s: read faster, and resume");
                tracing::warn!(topic = ?self.topic, "a reader of events took nothing for {SLOW:?} and is cut");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{
        KeyValue,
        client::{Batch, Change},
        keys,
        view::State,
    };

    use super::*;

    fn put(state: &mut State, key: String, value: &str, revision: i64) {
        let kv = KeyValue {
            key,
            value: value.to_owned().into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        };
        state.apply(Batch { changes: vec![Change::Put(kv)], revision });
    }

    #[test]
    fn differences_are_told_and_only_the_last_event_carries_the_id() {
        let mut state = State::default();
        for id in ["a", "b"] {
            let record = format!(r#"{{"id":"{id}","address":"h","port":1}}"#);
            put(&mut state, keys::instance("web", id), &record, 5);
        }
        let before = state.catalog().clone();
        put(&mut state, keys::instance("web", "a"), r#"{"id":"a","address":"h","port":2}"#, 6);
        let gone = Change::Delete { key: keys::instance("web", "b"), revision: 7 };
        state.apply(Batch { changes: vec![gone], revision: 7 });
        put(&mut state, keys::service("db"), r#"{"name":"db"}"#, 8);
        let now = state.catalog();
        let names = |events: &[Event]| events.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let of_web = Topic::Service("web".to_owned()).between(&before, now);
        assert_eq!(names(&of_web), ["instance", "instance-gone"]);
        assert_eq!(of_web[1].1, json!({"service": "web", "id": "b"}));
        let all = Topic::Services.between(&before, now);
        assert_eq!(names(&all), ["service", "service"]);
        assert_eq!(names(&Topic::Services.between(now, &before)), ["service-gone", "service"]);
        assert!(Topic::Services.between(now, now).is_empty());
        let text = String::from_utf8(chunk(&of_web, now.revision()).to_vec()).expect("UTF-8");
        assert_eq!(text.matches("id: 8\n").count(), 1, "{text}");
        assert!(text.ends_with("id: 8\ndata: {\"id\":\"b\",\"service\":\"web\"}\n\n"), "{text}");
    }
}
