//! Following the source by a watch, until the end: then both sides are compared.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use watchkeep_api::{
    etcdserverpb::{
        WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion,
    },
    mvccpb::event::EventType,
};

use super::{
    MigrateError, OWN, Outcome, Progress, Settings, Span,
    batch::{Batches, Write},
    copy::head,
    is_compacted,
    leases::Leases,
    source, target,
    target::Target,
    verify::digest,
};
use crate::{
    Client,
    client::{RawWatch, prefix_end},
};

/// How often the lag is told and progress asked for.
const TELL: Duration = Duration::from_secs(1);
/// How long the target may take to catch up at the end.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Pause before a lost watch is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// How following ends.
pub(super) enum End {
    /// Both sides were equal.
    Equal(Outcome),
    /// The state must be compared from the start.
    Again(&'static str),
}

/// What following needs.
pub(super) struct Following<'a> {
    pub(super) from: &'a Client,
    pub(super) target: &'a mut Target,
    pub(super) leases: &'a Leases,
    pub(super) settings: &'a Settings,
    pub(super) spans: &'a [Span],
}

/// How far it is.
struct Place {
    /// The revision up to which every event is in the target.
    applied: i64,
    /// The newest revision of which the source has said that nothing is missing.
    seen: i64,
    events: u64,
    /// From then on both sides are to be equal.
    ends: Option<Instant>,
}

impl Following<'_> {
    pub(super) async fn run(
        &mut self,
        stop: &CancellationToken,
        tell: &mut impl FnMut(Progress),
    ) -> Result<End, MigrateError> {
        let applied = self.target.followed().unwrap_or_default();
        let mut place = Place { applied, seen: applied, events: 0, ends: None };
        loop {
            let create = WatchCreateRequest {
                key: first(&self.settings.prefix),
                range_end: prefix_end(self.settings.prefix.as_bytes()),
                start_revision: place.applied + 1,
                ..Default::default()
            };
            let mut watch = match self.from.raw_watch(create).await {
                Ok(watch) => watch,
                Err(error) if error.is_refusal() => return Err(source(error)),
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    // Gives up when the source is gone for good.
                    head(self.from, self.spans, source).await?;
                    continue;
                }
            };
            if let Some(end) = self.follow(&mut watch, &mut place, stop, tell).await? {
                return Ok(end);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One watch, until it is lost.
    async fn follow(
        &mut self,
        watch: &mut RawWatch,
        place: &mut Place,
        stop: &CancellationToken,
        tell: &mut impl FnMut(Progress),
    ) -> Result<Option<End>, MigrateError> {
        let mut ticks = tokio::time::interval(TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                answer = watch.answers.message() => match answer {
                    Ok(Some(answer)) if answer.canceled => return canceled(&answer).map(Some),
                    Ok(Some(answer)) => self.apply(answer, place).await?,
                    Ok(None) | Err(_) => return Ok(None),
                },
                _ = ticks.tick() => {
                    let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    let ask = WatchRequest { request_union: Some(ask) };
                    if watch.requests.try_send(ask).is_err() {
                        return Ok(None);
                    }
                    if let Some(end) = self.look(place, stop, tell).await? {
                        return Ok(Some(end));
                    }
                }
                () = stop.cancelled(), if place.ends.is_none() => {
                    place.ends = Some(Instant::now() + CATCH_UP);
                    ticks.reset_immediately();
                }
            }
        }
    }

    async fn apply(
        &mut self,
        answer: WatchResponse,
        place: &mut Place,
    ) -> Result<(), MigrateError> {
        let header = answer.header.unwrap_or_default().revision;
        if answer.events.is_empty() {
            if !answer.created {
                place.seen = place.seen.max(header);
            }
            return Ok(());
        }
        let mut batches = Batches::default();
        let (mut group, mut at) = (Vec::new(), 0);
        for event in answer.events {
            let deleted = event.r#type() == EventType::Delete;
            let Some(kv) = event.kv else { continue };
            if kv.mod_revision != at {
                batches.push(std::mem::take(&mut group));
                at = kv.mod_revision;
            }
            place.events += 1;
            if !kv.key.starts_with(OWN.as_bytes()) {
                let write = if deleted { Write::Delete } else { Write::Put(kv.value, kv.lease) };
                group.push((kv.key, write));
            }
        }
        batches.push(group);
        let batches = batches.finish();
        let last = batches.len().saturating_sub(1);
        for (number, batch) in batches.into_iter().enumerate() {
            // Before the last batch a part of these events is missing: then they all come again.
            let followed = if number == last { at } else { place.applied };
            self.target.write(batch, Some(followed), Some(self.leases)).await?;
        }
        place.applied = at;
        place.seen = place.seen.max(at);
        Ok(())
    }

    /// Tells the lag, and ends when it is time.
    async fn look(
        &mut self,
        place: &mut Place,
        stop: &CancellationToken,
        tell: &mut impl FnMut(Progress),
    ) -> Result<Option<End>, MigrateError> {
        if self.leases.take_lost() {
            return Ok(Some(End::Again("a lease of the target ran out, its keys with it")));
        }
        let head = head(self.from, self.spans, source).await?.revision;
        let lag = (head - place.seen.max(place.applied)).max(0);
        tell(Progress::Following { revision: place.applied, lag, events: place.events });
        if place.ends.is_none() && (self.settings.until_synced || stop.is_cancelled()) {
            place.ends = Some(Instant::now() + CATCH_UP);
        }
        let Some(ends) = place.ends else { return Ok(None) };
        if self.settings.prefix.is_empty() {
            self.leases.carry_all().await?;
        }
        let last = Instant::now() >= ends;
        // Comparing reads everything.
        if lag > 0 && !last {
            return Ok(None);
        }
        self.compare(place, head, last).await
    }

    /// Whether both sides are equal now; `last`: it must be decided.
    async fn compare(
        &mut self,
        place: &Place,
        head: i64,
        last: bool,
    ) -> Result<Option<End>, MigrateError> {
        let there = digest(self.target.client(), self.spans, 0).await.map_err(target)?;
        let equal =
            |revision, behind| Ok(Some(End::Equal(Outcome { revision, behind, digest: there })));
        let here = digest(self.from, self.spans, head).await;
        let here = match here {
            Err(error) if is_compacted(&error) => return Ok(None),
            other => other.map_err(source)?,
        };
        if here == there {
            return equal(head, 0);
        }
        if !last {
            return Ok(None);
        }
        // The source is still written to: both are equal as of the last event that has arrived.
        match digest(self.from, self.spans, place.applied).await {
            Ok(then) if then == there => equal(place.applied, head - place.applied),
            Err(error) if !is_compacted(&error) => Err(source(error)),
            _ => Err(MigrateError::Differs { source_: here, target: there, revision: head }),
        }
    }
}

/// The first key of a prefix, as a range has it.
fn first(prefix: &str) -> Bytes {
    if prefix.is_empty() { Bytes::from_static(b"\0") } else { prefix.to_owned().into() }
}

fn canceled(answer: &WatchResponse) -> Result<End, MigrateError> {
    if answer.compact_revision > 0 {
        return Ok(End::Again("the source was compacted further than it was followed"));
    }
    Err(MigrateError::Watch(answer.cancel_reason.clone()))
}
