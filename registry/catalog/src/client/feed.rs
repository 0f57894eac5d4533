//! One watch of everything under `/watchkeep/` for several readers in one process. Each change is decoded once and given to
//! those who want its key; a reader that is slow holds the others up.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::select_all;
use tokio::sync::mpsc;

use super::{Batch, Change, Changes, Client, follow::BATCHES_MAX};
use crate::keys;

struct Reader {
    /// Which keys it wants.
    wants: Box<dyn Fn(&str) -> bool + Send + Sync>,
    sender: mpsc::Sender<Batch>,
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
    /// of one client share one watch. Whenever one more comes, all of them begin anew with a [`Change::Reset`].
    #[must_use]
    pub fn follow_shared(
        &self,
        wants: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let mut task = self.feed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = Reader { wants: Box::new(wants), sender };
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
    let mut readers = vec![first];
    loop {
        let mut batches = client.follow_batches(keys::ROOT);
        let more = loop {
            match tell(&readers, &mut batches, &mut arriving).await {
                Turn::Came(reader) => break reader,
                Turn::Left => readers.retain(|reader| !reader.sender.is_closed()),
            }
            if readers.is_empty() {
                // Whoever comes from now on starts another task.
                arriving.close();
                let Some(reader) = arriving.recv().await else { return };
                break reader;
            }
        };
        readers.push(more);
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
            let changes = batch.changes.iter().filter_map(|change| wanted(change, &reader.wants));
            let own = Batch { changes: changes.collect(), revision: batch.revision };
            // One that has left is seen to with the next turn.
            let _ = reader.sender.send(own).await;
        }
    }
}

fn wanted(change: &Change, wants: impl Fn(&str) -> bool) -> Option<Change> {
    match change {
        Change::Reset(kvs, revision) => {
            let kvs = kvs.iter().filter(|kv| wants(&kv.key)).cloned().collect();
            Some(Change::Reset(kvs, *revision))
        }
        Change::Put(kv) => wants(&kv.key).then(|| Change::Put(kv.clone())),
        Change::Delete { key, .. } => wants(key).then(|| change.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyValue;

    fn put(key: &str, revision: i64) -> Change {
        Change::Put(KeyValue {
            key: key.to_owned(),
            value: "v".into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        })
    }

    fn reader(wants: fn(&str) -> bool) -> (Reader, mpsc::Receiver<Batch>) {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        (Reader { wants: Box::new(wants), sender }, receiver)
    }

    #[tokio::test]
    async fn each_is_told_what_it_wants_and_of_every_revision() {
        let (all, mut of_all) = reader(|_| true);
        let (alerts, mut of_alerts) = reader(|key| key.starts_with(keys::ALERTS));
        let readers = [all, alerts];
        let (sender, mut batches) = mpsc::channel(BATCHES_MAX);
        let (arrivals, mut arriving) = mpsc::unbounded_channel();
        let (alert, other) = (put("/watchkeep/alerts/1", 7), put(keys::CLOCK, 7));
        let gone = Change::Delete { key: "/watchkeep/alerts/2".to_owned(), revision: 7 };
        let known: Vec<_> = [&alert].into_iter().filter_map(kv_of).collect();
        let both: Vec<_> = [&alert, &other].into_iter().filter_map(kv_of).collect();
        for (told, revision, expected) in [
            (vec![alert.clone(), other.clone(), gone.clone()], 7, vec![alert, gone]),
            (vec![other], 8, vec![]),
            (vec![Change::Reset(both, 9)], 9, vec![Change::Reset(known, 9)]),
        ] {
            let batch = Batch { changes: told, revision };
            sender.send(batch.clone()).await.expect("room");
            tokio::select! {
                _ = tell(&readers, &mut batches, &mut arriving) => panic!("nobody came or left"),
                own = of_alerts.recv() => {
                    assert_eq!(own, Some(Batch { changes: expected, revision }));
                }
            }
            assert_eq!(of_all.recv().await, Some(batch));
        }
        drop(of_all);
        let turn = tell(&readers, &mut batches, &mut arriving).await;
        assert!(matches!(turn, Turn::Left));
        assert!(arrivals.send(reader(|_| true).0).is_ok());
        let turn = tell(&readers[1..], &mut batches, &mut arriving).await;
        assert!(matches!(turn, Turn::Came(_)));
    }

    fn kv_of(change: &Change) -> Option<KeyValue> {
        match change {
            Change::Put(kv) => Some(kv.clone()),
            _ => None,
        }
    }
}
