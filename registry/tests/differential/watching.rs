//! One watch stream of one side, and everything that came over it.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use watchkeep_api::{
    etcdserverpb::{WatchRequest, WatchResponse, watch_client::WatchClient, watch_request},
    mvccpb::Event,
};

use crate::op::bare;

/// How long a response may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// What has come over a stream.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// By watcher, in order, however they were put together in responses.
    pub(crate) events: BTreeMap<i64, Vec<Event>>,
    /// Every response without events.
    pub(crate) control: Vec<WatchResponse>,
    /// By watcher, the revision with which its last response ended, unless that was a fragment.
    whole: BTreeMap<i64, i64>,
    ended: Option<String>,
}

pub(crate) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    log: watch::Receiver<Log>,
}

impl Watching {
    pub(crate) async fn open(channel: Channel) -> Self {
        let (requests, stream) = mpsc::channel(16);
        let (sender, log) = watch::channel(Log::default());
        // Without fragments a response is as large as its revisions.
        let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
        tokio::spawn(async move {
            let mut stream = match client.watch(ReceiverStream::new(stream)).await {
                Ok(stream) => stream.into_inner(),
                Err(error) => return sender.send_modify(|log| log.ended = Some(error.to_string())),
            };
            loop {
                match stream.message().await {
                    Ok(Some(response)) => sender.send_modify(|log| log.take(response)),
                    ended => {
                        let why = ended.err().map_or("ended".to_owned(), |e| e.to_string());
                        return sender.send_modify(|log| log.ended = Some(why));
                    }
                }
            }
        });
        Self { requests, log }
    }

    pub(crate) async fn send(&self, request: watch_request::RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.expect("the stream takes requests");
    }

    /// Waits until `done`; an error says what there was instead.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Log) -> bool,
    ) -> Result<(), String> {
        let mut ended = None;
        let reached = self.log.wait_for(|log| {
            ended.clone_from(&log.ended);
            done(log) || log.ended.is_some()
        });
        let reached = timeout(DEADLINE, reached).await.map(drop);
        match (reached, ended) {
            (_, Some(why)) => Err(format!("{what}: the watch stream is gone: {why}")),
            (Ok(()), None) => Ok(()),
            (Err(_), None) => {
                Err(format!("{what}: not within {DEADLINE:?}; there is {:#?}", *self.log.borrow()))
            }
        }
    }

    pub(crate) fn log(&self) -> watch::Ref<'_, Log> {
        self.log.borrow()
    }
}

impl Log {
    fn take(&mut self, mut response: WatchResponse) {
        let revision = |event: Option<&Event>| event?.kv.as_ref().map(|kv| kv.mod_revision);
        let id = response.watch_id;
        if response.created {
            self.whole.remove(&id);
        }
        let first = revision(response.events.first());
        if first.is_some() && first == self.whole.remove(&id) {
            self.ended = Some(format!("watcher {id}: revision {first:?} came in two responses"));
        }
        if let Some(last) = revision(response.events.last()).filter(|_| !response.fragment) {
            self.whole.insert(id, last);
        }
        self.events.entry(response.watch_id).or_default().append(&mut response.events);
        if response.created || response.canceled || response.watch_id == -1 {
            self.control.push(WatchResponse { header: bare(response.header), ..response });
        }
    }
}
