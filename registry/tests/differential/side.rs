//! One of the two that are compared: sends requests, makes answers comparable.

use std::collections::{BTreeMap, BTreeSet};

use tokio_stream::once;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, ResponseHeader, kv_client::KvClient,
    lease_client::LeaseClient,
};

use crate::{
    op::{Answer, CHOSEN, Op, bare},
    watcher::Watcher,
    watching::Watching,
};

/// Written last in every sequence that watches: sorts behind every other key.
const END: &[u8] = b"\xff\xff\xff";

pub(crate) struct Side {
    pub(crate) name: &'static str,
    /// `http://host:port`.
    pub(crate) endpoint: String,
    pub(crate) kv: KvClient<Channel>,
    pub(crate) lease: LeaseClient<Channel>,
    pub(super) channel: Channel,
    pub(super) watching: Option<Watching>,
    /// Watchers that are open.
    pub(super) watchers: BTreeMap<i64, Watcher>,
    /// Watchers that a compaction ended: etcd keeps their ids reserved, so they are left alone.
    pub(super) dead: BTreeSet<i64>,
    /// Leases whose ids the server chose, in order.
    chosen: Vec<i64>,
    /// Where the sequence began.
    pub(crate) base: i64,
    /// The newest revision heard of.
    pub(super) revision: i64,
    pub(super) compacted: i64,
}

impl Side {
    pub(crate) fn new(name: &'static str, endpoint: &str) -> Self {
        let channel = Endpoint::from_shared(endpoint.to_owned()).expect("an URL").connect_lazy();
        Self {
            name,
            endpoint: endpoint.to_owned(),
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            channel,
            watching: None,
            watchers: BTreeMap::new(),
            dead: BTreeSet::new(),
            chosen: Vec::new(),
            base: 0,
            revision: 0,
            compacted: 0,
        }
    }

    /// A connection to it.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A new sequence begins, at a revision below which all is compacted.
    pub(crate) async fn begin(&mut self, base: i64, watches: bool) -> Result<(), String> {
        self.chosen.clear();
        (self.base, self.revision, self.compacted) = (base, base, base);
        self.open_watching(watches).await
    }

    /// Sends a request that stands at real revisions and waits for its answer; an error says what did not happen.
    pub(crate) async fn perform(&mut self, op: &Op) -> Result<Answer, String> {
        let answer = match op {
            Op::Watch(request) => self.watch(request.clone()).await?,
            Op::Cancel(id) => self.cancel(*id).await?,
            Op::Progress => self.progress().await?,
            Op::Compact(request) => {
                // Whether a watcher that lags is cut off is a matter of luck.
                self.settled().await?;
                self.have_looked().await;
                let done = self.kv.compact(*request).await;
                if done.is_ok() {
                    self.compacted = request.revision;
                }
                answered(done, Answer::Compact, |r| &mut r.header)
            }
            other => self.call(other).await,
        };
        if let Answer::Error { code: tonic::Code::Unavailable, message } = &answer {
            return Err(format!("it is gone: {message}"));
        }
        self.revision = self.revision.max(answer.revision().unwrap_or_default());
        Ok(answer)
    }

    /// What is neither a watch nor a compaction.
    async fn call(&mut self, op: &Op) -> Answer {
        let (kv, lease) = (&mut self.kv, &mut self.lease);
        match op.clone() {
            Op::Range(r) => answered(kv.range(r).await, Answer::Range, |r| &mut r.header),
            Op::Put(r) => answered(kv.put(r).await, Answer::Put, |r| &mut r.header),
            Op::Delete(r) => answered(kv.delete_range(r).await, Answer::Delete, |r| &mut r.header),
            Op::Txn(r) => answered(kv.txn(r).await, Answer::Txn, |r| &mut r.header),
            Op::Grant(r) => self.grant(r).await,
            Op::Revoke(id) => {
                let request = LeaseRevokeRequest { id: self.real_lease(id) };
                let done = self.lease.lease_revoke(request).await;
                answered(done, Answer::Revoke, |r| &mut r.header)
            }
            Op::TimeToLive(r) => {
                let real = LeaseTimeToLiveRequest { id: self.real_lease(r.id), ..r };
                let mut done = self.lease.lease_time_to_live(real).await;
                if let Ok(response) = &mut done {
                    let response = response.get_mut();
                    response.id = r.id;
                    // etcd gives them in no order.
                    response.keys.sort();
                }
                answered(done, Answer::TimeToLive, |r| &mut r.header)
            }
            Op::KeepAlive(id) => {
                let mut answer = self.keep_alive(self.real_lease(id)).await;
                if let Answer::KeepAlive(response) = &mut answer {
                    response.id = id;
                }
                answer
            }
            Op::Leases => {
                let mut done = lease.lease_leases(LeaseLeasesRequest {}).await;
                if let Ok(response) = &mut done {
                    for lease in &mut response.get_mut().leases {
                        lease.id = self.lease_name(lease.id);
                    }
                }
                answered(done, Answer::Leases, |r| &mut r.header)
            }
            Op::Watch(_) | Op::Cancel(_) | Op::Progress | Op::Compact(_) => {
                unreachable!("done by the caller")
            }
        }
    }

    async fn grant(&mut self, request: LeaseGrantRequest) -> Answer {
        let mut done = self.lease.lease_grant(request).await;
        if let Ok(response) = &mut done
            && request.id == 0
        {
            self.chosen.push(response.get_ref().id);
            response.get_mut().id = self.lease_name(response.get_ref().id);
        }
        answered(done, Answer::Grant, |r| &mut r.header)
    }

    async fn keep_alive(&mut self, id: i64) -> Answer {
        let asked = self.lease.lease_keep_alive(once(LeaseKeepAliveRequest { id })).await;
        let first = match asked {
            Ok(stream) => stream.into_inner().message().await,
            Err(status) => Err(status),
        };
        let first = first.and_then(|r| r.ok_or_else(|| Status::internal("no answer")));
        answered(first.map(tonic::Response::new), Answer::KeepAlive, |r| &mut r.header)
    }

    fn real_lease(&self, name: i64) -> i64 {
        let index = CHOSEN.checked_sub(name).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.chosen.get(index)).copied().unwrap_or(name)
    }

    fn lease_name(&self, real: i64) -> i64 {
        let index = self.chosen.iter().position(|id| *id == real);
        index.and_then(|index| i64::try_from(index).ok()).map_or(real, |index| CHOSEN - index)
    }

    /// The sequence is over: writes a last key and waits until every watcher has everything.
    pub(crate) async fn end(&mut self) -> Result<(), String> {
        if self.watching.is_some() {
            let request = PutRequest { key: END.into(), ..PutRequest::default() };
            self.perform(&Op::Put(request)).await?;
            self.settled().await?;
        }
        Ok(())
    }
}

fn answered<R>(
    done: Result<tonic::Response<R>, Status>,
    answer: impl FnOnce(R) -> Answer,
    header: impl FnOnce(&mut R) -> &mut Option<ResponseHeader>,
) -> Answer {
    match done {
        Ok(response) => {
            let mut response = response.into_inner();
            let header = header(&mut response);
            *header = bare(*header);
            answer(response)
        }
        Err(status) => status.into(),
    }
}
