//! One watch of everything under `/watchkeep/` for several readers in one process. Each change is decoded once and given to
//! those who want its key; a reader that is slow holds the others up.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::select_all;
use tokio::sync::mpsc;
use tracing::debug;

use super::{
    Batch, Change, Changes, Client,
    follow::{BATCHES_MAX, PAUSE},
};
use crate::keys;

struct Reader {
    /// Which keys it wants.
    wants: Box<dyn Fn(&str) -> bool + Send + Sync>,
    sender: mpsc::Sender<Batch>,
    /// It knows all up to this revision.
    knows: i64,
}

/// The way to the task that watches, where there is one. It ends with its last reader.
#[derive(Clone, Default)]
pub(super) struct Feed(Arc<Mutex<Option<mpsc::UnboundedSender<Reader>>>>);

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Client {
    /// As [`Self::follow_batches`] of everything under `/watchkeep/`, of which the reader wants these keys. All who ask for it of clones
    /// of one client share one watch; who comes later is told first what is there.
    #[must_use]
    pub fn follow_shared(
        &self,
        wants: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let mut task = self.feed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = Reader { wants: Box::new(wants), sender, knows: 0 };
        if let Some(arrivals) = &*task {
            match arrivals.send(reader) {
                Ok(()) => return receiver,
                Err(refused) => reader = refused.0,
            }
        }
        let (arrivals, arriving) = mpsc::unbounded_channel();
        *task = Some(arrivals);
        // The task must not keep alive what tells it that nobody is left.
        let client = Self { feed: Feed::default(), ..self.clone() };
        tokio::spawn(feed(client, reader, arriving));
        receiver
    }
}

impl From<mpsc::Receiver<Batch>> for Changes {
    fn from(batches: mpsc::Receiver<Batch>) -> Self {
        Self { batches, told: Vec::new().into_iter() }
    }
}

/// Why the readers are others now.
enum Turn {
    Came(Reader),
    Left,
}

async fn feed(client: Client, first: Reader, mut arriving: mpsc::UnboundedReceiver<Reader>) {
    let mut batches = client.follow_batches(keys::ROOT);
    let mut readers = vec![first];
    loop {
        match tell(&readers, &mut batches, &mut arriving).await {
            Turn::Came(mut reader) => {
                if reader.begin(&client).await {
                    readers.push(reader);
                }
            }
            Turn::Left => readers.retain(|reader| !reader.sender.is_closed()),
        }
        if readers.is_empty() {
            // Whoever comes from now on starts another task.
            arriving.close();
            let Some(reader) = arriving.recv().await else { return };
            readers.push(reader);
            batches = client.follow_batches(keys::ROOT);
        }
    }
}

impl Reader {
    /// Tells it what is there, which is no older than what the others know; false when it has left.
    async fn begin(&mut self, client: &Client) -> bool {
        loop {
            let listed = tokio::select! {
                listed = client.list(keys::ROOT) => listed,
                () = self.sender.closed() => return false,
            };
            match listed {
                Ok((kvs, revision)) => {
                    let changes = vec![Change::Reset(kvs, revision)];
                    self.tell(&Batch { changes, revision }).await;
                    self.knows = revision;
                    return true;
                }
                Err(error) => debug!(%error, "a reader of the watch has to wait"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn tell(&self, batch: &Batch) {
        let changes = batch.changes.iter().filter_map(|change| self.wanted(change)).collect();
        // One that has left is seen to with the next turn.
        let _ = self.sender.send(Batch { changes, revision: batch.revision }).await;
    }

    fn wanted(&self, change: &Change) -> Option<Change> {
        match change {
            Change::Reset(kvs, revision) => (*revision > self.knows).then(|| {
                let wanted = kvs.iter().filter(|kv| (self.wants)(&kv.key));
                Change::Reset(wanted.cloned().collect(), *revision)
            }),
            Change::Put(kv) => (kv.mod_revision > self.knows && (self.wants)(&kv.key))
                .then(|| Change::Put(kv.clone())),
            Change::Delete { key, revision } => {
                (*revision > self.knows && (self.wants)(key)).then(|| change.clone())
            }
        }
    }
}

/// Gives each reader what it wants, until there is one more or one less.
async fn tell(
    readers: &[Reader],
    batches: &mut mpsc::Receiver<Batch>,
    arriving: &mut mpsc::UnboundedReceiver<Reader>,
) -> Turn {
    let mut left = select_all(readers.iter().map(|reader| Box::pin(reader.sender.closed())));
    loop {
        let batch = tokio::select! {
            Some(batch) = batches.recv() => batch,
            Some(reader) = arriving.recv() => return Turn::Came(reader),
            _ = &mut left => return Turn::Left,
        };
        for reader in readers {
            reader.tell(&batch).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyValue;

    fn kv(key: &str, revision: i64) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: "v".into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        }
    }

    fn reader(wants: fn(&str) -> bool, knows: i64) -> (Reader, mpsc::Receiver<Batch>) {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        (Reader { wants: Box::new(wants), sender, knows }, receiver)
    }

    #[tokio::test]
    async fn each_is_told_what_it_wants_and_does_not_know() {
        let (all, mut of_all) = reader(|_| true, 0);
        let (alerts, mut of_alerts) = reader(|key| key.starts_with(keys::ALERTS), 0);
        let (late, mut of_late) = reader(|_| true, 8);
        let readers = [all, alerts, late];
        let (sender, mut batches) = mpsc::channel(BATCHES_MAX);
        let (arrivals, mut arriving) = mpsc::unbounded_channel();
        let (alert, other) = (kv("/watchkeep/alerts/1", 7), kv(keys::CLOCK, 8));
        let (put, clock) = (Change::Put(alert.clone()), Change::Put(other.clone()));
        let gone = Change::Delete { key: "/watchkeep/alerts/2".to_owned(), revision: 9 };
        let (some, both) = (vec![alert.clone()], vec![alert, other]);
        let old = Change::Reset(both.clone(), 8);
        for (told, revision, of_alerts_only, of_late_only) in [
            (vec![put.clone(), clock.clone()], 8, vec![put], vec![]),
            (vec![clock], 8, vec![], vec![]),
            (vec![gone.clone()], 9, vec![gone.clone()], vec![gone]),
            (vec![old], 8, vec![Change::Reset(some.clone(), 8)], vec![]),
            (
                vec![Change::Reset(both.clone(), 10)],
                10,
                vec![Change::Reset(some, 10)],
                vec![Change::Reset(both, 10)],
            ),
        ] {
            let batch = Batch { changes: told, revision };
            sender.send(batch.clone()).await.expect("room");
            tokio::select! {
                _ = tell(&readers, &mut batches, &mut arriving) => panic!("nobody came or left"),
                own = of_late.recv() => {
                    assert_eq!(own, Some(Batch { changes: of_late_only, revision }));
                }
            }
            assert_eq!(of_alerts.recv().await, Some(Batch { changes: of_alerts_only, revision }));
            assert_eq!(of_all.recv().await, Some(batch));
        }
        drop(of_all);
        let turn = tell(&readers, &mut batches, &mut arriving).await;
        assert!(matches!(turn, Turn::Left));
        assert!(arrivals.send(reader(|_| true, 0).0).is_ok());
        let turn = tell(&readers[1..], &mut batches, &mut arriving).await;
        assert!(matches!(turn, Turn::Came(_)));
    }
}
