//! `v3electionpb.Election`: the leader has the first place of a queue, and its key holds what it proclaims.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use watchkeep_api::{
    etcdserverpb::{RangeRequest, WatchCreateRequest},
    mvccpb::{KeyValue, event::EventType},
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse,
        ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse, election_server,
    },
};

use super::queue::{Queues, Session, end, named, prefix, stale, unknown};

/// Proclamations that wait for a slow observer; beyond it the watch waits.
const OBSERVED_MAX: usize = 16;

pub(super) struct Election(pub(super) Queues);

type Answer<T> = Result<Response<T>, Status>;

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

fn meant(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| Status::unknown("\"leader\" field must be provided"))
}

impl Election {
    async fn win(&self, request: Request<CampaignRequest>) -> Result<CampaignResponse, Status> {
        let _place = self.0.place()?;
        let session = self.0.of(&request);
        let CampaignRequest { name, lease, value } = request.into_inner();
        let lease = session.lease(lease).await?;
        let entered = session.enter(&name, lease, value.clone()).await?;
        let place = &entered.place;
        if entered.held.as_ref().is_some_and(|held| held.value != value)
            && !session.write(&place.key, place.revision, lease, value).await?.succeeded
        {
            return Err(not_leader());
        }
        session.wait(place).await?;
        // Nobody is before a place that is no more, too: its lease may have ended while it waited.
        let own = RangeRequest { key: place.key.clone(), ..RangeRequest::default() };
        let own = session.range(own).await?;
        if own.kvs.first().is_none_or(|kv| kv.create_revision != place.revision) {
            return Err(not_leader());
        }
        let (place, header) = entered.keep();
        let leader = LeaderKey { name, key: place.key, rev: place.revision, lease };
        Ok(CampaignResponse { header, leader: Some(leader) })
    }

    async fn proclaimed(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<ProclaimResponse, Status> {
        let session = self.0.of(&request);
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = meant(leader)?;
        let answer = session.write(&leader.key, leader.rev, leader.lease, value).await?;
        if !answer.succeeded {
            return Err(not_leader());
        }
        Ok(ProclaimResponse { header: answer.header })
    }

    async fn led(&self, request: Request<LeaderRequest>) -> Result<LeaderResponse, Status> {
        let session = self.0.of(&request);
        let (kv, header) = session.holder(&request.into_inner().name).await?;
        let kv = kv.ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(LeaderResponse { header, kv: Some(kv) })
    }

    async fn resigned(&self, request: Request<ResignRequest>) -> Result<ResignResponse, Status> {
        let session = self.0.of(&request);
        let leader = meant(request.into_inner().leader)?;
        let answer = session.leave(&leader.key, leader.rev).await?;
        Ok(ResignResponse { header: answer.header })
    }
}

#[tonic::async_trait]
impl election_server::Election for Election {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn campaign(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        named(&request.get_ref().name)?;
        self.win(request).await.map(Response::new).map_err(unknown)
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Answer<ProclaimResponse> {
        self.proclaimed(request).await.map(Response::new).map_err(unknown)
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Answer<LeaderResponse> {
        named(&request.get_ref().name)?;
        self.led(request).await.map(Response::new).map_err(unknown)
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Answer<Self::ObserveStream> {
        named(&request.get_ref().name)?;
        let place = self.0.place()?;
        let session = self.0.of(&request);
        let name = request.into_inner().name;
        let (sender, receiver) = tokio::sync::mpsc::channel(OBSERVED_MAX);
        tokio::spawn(async move {
            let _place = place;
            let gone = sender.clone();
            tokio::select! {
                ended = observe(&session, &name, &sender) => {
                    if let Err(error) = ended {
                        // Nobody may be there to hear it.
                        let _ = sender.send(Err(unknown(error))).await;
                    }
                }
                () = gone.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Answer<ResignResponse> {
        self.resigned(request).await.map(Response::new).map_err(unknown)
    }
}

type Observer = Sender<Result<LeaderResponse, Status>>;

/// One leader after the other, until the observer goes away.
async fn observe(session: &Session, name: &Bytes, observer: &Observer) -> Result<(), Status> {
    loop {
        let (leader, header) = session.holder(name).await?;
        let revision = header.as_ref().map_or(0, |header| header.revision);
        let Some(leader) = leader else {
            candidate(session, name, revision + 1).await?;
            continue;
        };
        let key = leader.key.clone();
        if observer.send(Ok(LeaderResponse { header, kv: Some(leader) })).await.is_err() {
            return Ok(());
        }
        proclamations(session, key, revision + 1, observer).await?;
    }
}

/// Waits until there is a candidate.
async fn candidate(session: &Session, name: &Bytes, from: i64) -> Result<(), Status> {
    let prefix = prefix(name);
    let create = WatchCreateRequest {
        range_end: end(&prefix),
        key: prefix,
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let mut answers = session.watch(create).await?;
    while let Some(answer) = answers.message().await? {
        if stale(&answer)? || answer.events.iter().any(|e| e.r#type() == EventType::Put) {
            return Ok(());
        }
    }
    Err(Status::unknown("lost watcher waiting for a candidate"))
}

/// What this leader proclaims, until its key is deleted (or history before is gone: then it is looked for anew).
async fn proclamations(
    session: &Session,
    key: Bytes,
    from: i64,
    observer: &Observer,
) -> Result<(), Status> {
    let create = WatchCreateRequest { key, start_revision: from, ..WatchCreateRequest::default() };
    let mut answers = session.watch(create).await?;
    while let Some(answer) = answers.message().await? {
        if stale(&answer)? {
            return Ok(());
        }
        for event in answer.events {
            if event.r#type() == EventType::Delete {
                return Ok(());
            }
            let kv: Option<KeyValue> = event.kv;
            let told = LeaderResponse { header: answer.header, kv };
            if observer.send(Ok(told)).await.is_err() {
                return Ok(());
            }
        }
    }
    Err(Status::unknown("lost watcher waiting for a proclamation"))
}
