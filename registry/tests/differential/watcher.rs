//! The watchers of one side. What each must have seen follows from what a watcher over everything, on the same stream,
//! has seen.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use watchkeep_api::{
    etcdserverpb::{
        WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse,
        watch_create_request::FilterType, watch_request::RequestUnion,
    },
    mvccpb::{Event, event::EventType},
};

use crate::{
    op::Answer,
    side::Side,
    watching::{Log, Watching},
};

/// etcd looks every 100 ms what watchers of the past have missed (`syncWatchersLoop`), and says nothing where that is nothing.
const LOOK: Duration = Duration::from_millis(400);

/// The watcher over everything.
pub(crate) const EVERYTHING: i64 = 1_000_000;

pub(crate) struct Watcher {
    request: WatchCreateRequest,
    /// First revision it is about.
    from: i64,
    /// What was compacted when it was made.
    compacted: i64,
    /// Events that an earlier watcher of the same id had.
    earlier: usize,
    /// When it was made, if it began in the past.
    past: Option<Instant>,
    open: bool,
}

impl Watcher {
    /// Whether it must see an event, as far as etcd 3.4 and 3.7 are of one mind.
    fn wants(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        let (key, r) = (&kv.key, &self.request);
        let in_range = match &r.range_end[..] {
            b"" => *key == r.key || (r.key.is_empty() && &key[..] == b"\0"),
            b"\0" => *key >= r.key,
            end => *key >= r.key && &key[..] < end,
        };
        let filtered = r.filters().any(|filter| match filter {
            FilterType::Noput => event.r#type() == EventType::Put,
            FilterType::Nodelete => event.r#type() == EventType::Delete,
        });
        in_range && !filtered && kv.mod_revision >= self.from && !self.disputed(event)
    }

    /// Intended difference "A tombstone at the compacted revision".
    fn disputed(&self, event: &Event) -> bool {
        let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        event.r#type() == EventType::Delete && revision <= self.compacted
    }
}

fn events(log: &Log, id: i64) -> &[Event] {
    log.events.get(&id).map_or(&[], Vec::as_slice)
}

fn canceled(log: &Log, id: i64) -> impl DoubleEndedIterator<Item = &WatchResponse> {
    log.control.iter().filter(move |r| r.canceled && !r.created && r.watch_id == id)
}

fn created(log: &Log) -> impl DoubleEndedIterator<Item = &WatchResponse> {
    log.control.iter().filter(|r| r.created)
}

fn progress(log: &Log) -> impl DoubleEndedIterator<Item = &WatchResponse> {
    log.control.iter().filter(|r| !r.created && !r.canceled)
}

impl Side {
    pub(super) async fn open_watching(&mut self, watches: bool) -> Result<(), String> {
        self.watchers.clear();
        self.dead.clear();
        self.watching = None;
        if watches {
            self.watching = Some(Watching::open(self.channel.clone()).await);
            let everything = WatchCreateRequest {
                key: "\0".into(),
                range_end: "\0".into(),
                watch_id: EVERYTHING,
                start_revision: self.base + 1,
                prev_kv: true,
                ..WatchCreateRequest::default()
            };
            self.watch(everything).await?;
        }
        Ok(())
    }

    fn stream(&mut self) -> &mut Watching {
        self.watching.as_mut().expect("the sequence watches")
    }

    pub(super) async fn watch(&mut self, request: WatchCreateRequest) -> Result<Answer, String> {
        if self.dead.contains(&request.watch_id) {
            return Ok(Answer::Watch(Vec::new()));
        }
        let (compacted, revision) = (self.compacted, self.revision);
        let stream = self.stream();
        let before = created(&stream.log()).count();
        // The server never chooses an id again.
        let (earlier, canceled_before) = match request.watch_id {
            0 => (0, 0),
            id => (events(&stream.log(), id).len(), canceled(&stream.log(), id).count()),
        };
        stream.send(RequestUnion::CreateRequest(request.clone())).await;
        stream.until("created", |log| created(log).count() > before).await?;
        let first = created(&stream.log()).next_back().cloned().expect("just waited for");
        let id = first.watch_id;
        if first.canceled {
            return Ok(Answer::Watch(vec![first]));
        }
        if request.start_revision > 0 && request.start_revision < compacted {
            stream.until("compacted", |log| canceled(log, id).count() > canceled_before).await?;
            let last = canceled(&stream.log(), id).next_back().cloned();
            self.dead.insert(id);
            return Ok(Answer::Watch([first].into_iter().chain(last).collect()));
        }
        let from = if request.start_revision > 0 { request.start_revision } else { revision + 1 };
        let past = (from <= revision).then(Instant::now);
        self.watchers.insert(id, Watcher { request, from, compacted, earlier, past, open: true });
        Ok(Answer::Watch(vec![first]))
    }

    pub(super) async fn cancel(&mut self, id: i64) -> Result<Answer, String> {
        if self.dead.contains(&id) || id == EVERYTHING {
            return Ok(Answer::Watch(Vec::new()));
        }
        self.settled().await?;
        self.cancel_now(id).await
    }

    /// Takes the watcher over everything away: the sequence is over.
    pub(crate) async fn cancel_everything(&mut self) -> Result<Answer, String> {
        self.cancel_now(EVERYTHING).await
    }

    async fn cancel_now(&mut self, id: i64) -> Result<Answer, String> {
        let known = self.watchers.get_mut(&id).filter(|watcher| watcher.open);
        let known = known.map(|watcher| watcher.open = false).is_some();
        let stream = self.stream();
        let before = canceled(&stream.log(), id).count();
        stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id })).await;
        if !known {
            return Ok(Answer::Watch(Vec::new()));
        }
        stream.until("canceled", |log| canceled(log, id).count() > before).await?;
        let last = canceled(&stream.log(), id).next_back().cloned();
        Ok(Answer::Watch(last.into_iter().collect()))
    }

    pub(super) async fn progress(&mut self) -> Result<Answer, String> {
        self.settled().await?;
        self.ask_progress().await
    }

    /// Asks for progress, whatever watchers there are.
    pub(crate) async fn ask_progress(&mut self) -> Result<Answer, String> {
        let stream = self.stream();
        let before = progress(&stream.log()).count();
        stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
        stream.until("progress", |log| progress(log).count() > before).await?;
        let last = progress(&stream.log()).next_back().cloned();
        Ok(Answer::Watch(last.into_iter().collect()))
    }

    /// Waits until every watcher has what it must have by now.
    pub(super) async fn settled(&mut self) -> Result<(), String> {
        let (base, revision) = (self.base, self.revision);
        let Some(stream) = &mut self.watching else { return Ok(()) };
        let newest = |log: &Log| {
            let last = events(log, EVERYTHING).last().and_then(|event| event.kv.as_ref());
            last.map_or(base, |kv| kv.mod_revision)
        };
        stream.until("events", |log| newest(log) >= revision).await?;
        for (id, watcher) in self.watchers.iter().filter(|(_, watcher)| watcher.open) {
            let wanted =
                events(&stream.log(), EVERYTHING).iter().filter(|e| watcher.wants(e)).count();
            let enough = |log: &Log| {
                let own = events(log, *id).iter().skip(watcher.earlier);
                own.filter(|event| !watcher.disputed(event)).count() >= wanted
            };
            stream.until(&format!("{wanted} events of watcher {id}"), enough).await?;
        }
        Ok(())
    }

    /// Waits until watchers of the past that found nothing have looked: else a compaction comes before that, perhaps.
    pub(super) async fn have_looked(&self) {
        let Some(stream) = &self.watching else { return };
        let open = self.watchers.iter().filter(|(_, watcher)| watcher.open);
        let quiet =
            open.filter(|(id, watcher)| events(&stream.log(), **id).len() <= watcher.earlier);
        if let Some(last) = quiet.filter_map(|(_, watcher)| watcher.past).max() {
            tokio::time::sleep_until(last + LOOK).await;
        }
    }

    /// All events of one watcher, disputed ones too.
    pub(crate) fn everything(&self, id: i64) -> Vec<Event> {
        self.watching.as_ref().map_or_else(Vec::new, |stream| events(&stream.log(), id).to_vec())
    }

    /// From now on the ids of watchers that a compaction ended are tried again.
    pub(crate) fn forget_the_dead(&mut self) {
        self.dead.clear();
    }

    /// All events by watcher, without those that are disputed.
    pub(crate) fn seen(&self) -> BTreeMap<i64, Vec<Event>> {
        let Some(stream) = &self.watching else { return BTreeMap::new() };
        let mut seen = stream.log().events.clone();
        for (id, watcher) in &self.watchers {
            seen.entry(*id).or_default().retain(|event| !watcher.disputed(event));
        }
        seen
    }
}
