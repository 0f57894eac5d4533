//! Following a prefix: list it, then watch it, for ever.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::metadata::MetadataValue;
use tracing::debug;
use watchkeep_api::{
    etcdserverpb::{
        WatchCreateRequest, WatchRequest, watch_client::WatchClient, watch_request::RequestUnion,
    },
    mvccpb::event::EventType,
};

use super::{Client, ClientError, KeyValue, prefix_end};

/// Batches that wait for a slow reader; beyond it the watch itself waits.
pub(super) const BATCHES_MAX: usize = 16;
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// What happened to the keys under the followed prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All that is there, at this revision: forget what was known before.
    Reset(Vec<KeyValue>, i64),
    /// A key was written.
    Put(KeyValue),
    /// A key was deleted, or its lease ran out.
    Delete {
        /// The key.
        key: String,
        /// When.
        revision: i64,
    },
}

/// Changes that were told together: never a part of what one transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In the order of their revisions; none: nothing of interest has changed up to `revision`.
    pub changes: Vec<Change>,
    /// All changes up to this revision have been told.
    pub revision: i64,
}

/// The changes under a followed prefix, one by one.
#[derive(Debug)]
pub struct Changes {
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) told: std::vec::IntoIter<Change>,
}

impl Changes {
    /// The next one; waits for it. None is lost when the future is dropped. It does not end as long as the runtime runs.
    pub async fn recv(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.told.next() {
                return Some(change);
            }
            self.told = self.batches.recv().await?.changes.into_iter();
        }
    }

    /// The next one, if it is here already.
    pub fn try_recv(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.told.next() {
                return Some(change);
            }
            self.told = self.batches.try_recv().ok()?.changes.into_iter();
        }
    }
}

impl Client {
    /// Lists `prefix`, then watches it, for ever: after a lost connection it goes on where it was, after a
    /// compaction it starts again with a [`Change::Reset`]. Ends when the receiver is dropped.
    #[must_use]
    pub fn follow(&self, prefix: &str) -> Changes {
        self.follow_batches(prefix).into()
    }

    /// As [`Self::follow`], with what belongs together kept together.
    #[must_use]
    pub fn follow_batches(&self, prefix: &str) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let (client, prefix) = (self.clone(), prefix.to_owned());
        tokio::spawn(async move {
            let mut next = None;
            while !sender.is_closed() {
                if let Err(error) = client.follow_once(&prefix, &mut next, &sender).await {
                    debug!(%prefix, %error, "watch interrupted");
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = sender.closed() => {}
                }
            }
        });
        receiver
    }

    /// One connection: from `next` (or from a fresh list) until the stream ends.
    async fn follow_once(
        &self,
        prefix: &str,
        next: &mut Option<i64>,
        sender: &mpsc::Sender<Batch>,
    ) -> Result<(), ClientError> {
        let start = match *next {
            Some(revision) => revision,
            None => {
                let (kvs, revision) = self.list(prefix).await?;
                let batch = Batch { changes: vec![Change::Reset(kvs, revision)], revision };
                if sender.send(batch).await.is_err() {
                    return Ok(());
                }
                *next.insert(revision + 1)
            }
        };
        let create = WatchCreateRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: prefix_end(prefix.as_bytes()),
            start_revision: start,
            ..Default::default()
        };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The request side stays open as long as the watch does.
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let (at, channel) = self.endpoints.current();
        let fail = |status: &tonic::Status| {
            self.endpoints.rotate(at);
            self.endpoints.error(at, &format!("watch {prefix}"), status)
        };
        let link = self.login.link(channel).await.map_err(|s| fail(&s))?;
        let mut watch = WatchClient::new(link).max_decoding_message_size(usize::MAX);
        let mut requests = tonic::Request::new(requests);
        // Ends the stream when the member has lost its leader: then another one is asked.
        requests.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut answers = watch.watch(requests).await.map_err(|s| fail(&s))?.into_inner();
        loop {
            let message = tokio::select! {
                message = answers.message() => message.map_err(|s| fail(&s))?,
                () = sender.closed() => return Ok(()),
            };
            let Some(answer) = message else { return Ok(()) };
            if answer.canceled {
                if !self.login.ends_watch(&answer.cancel_reason) {
                    *next = None;
                }
                return Ok(());
            }
            let told = answer.events.is_empty() && !answer.created;
            let (mut last, mut changes) = (None, Vec::with_capacity(answer.events.len()));
            for event in answer.events {
                let deleted = event.r#type() == EventType::Delete;
                let Some(kv) = event.kv.map(KeyValue::from) else { continue };
                last = Some(kv.mod_revision);
                changes.push(if deleted {
                    Change::Delete { revision: kv.mod_revision, key: kv.key }
                } else {
                    Change::Put(kv)
                });
            }
            // With events it is not the header that counts: etcd sends what a watcher has missed in parts, each with
            // the store's newest revision in its header.
            let seen = last.or(answer.header.filter(|_| told).map(|header| header.revision));
            // Fragments are not asked for: each answer is whole.
            if let Some(revision) = seen {
                if sender.send(Batch { changes, revision }).await.is_err() {
                    return Ok(());
                }
                *next = Some(revision + 1);
            }
        }
    }
}
