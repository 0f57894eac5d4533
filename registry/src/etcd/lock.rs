//! `v3lockpb.Lock`: a lock is the first place of a queue.

use tonic::{Request, Response, Status};
use watchkeep_api::{
    etcdserverpb::RangeRequest,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server},
};

use super::queue::{Queues, named, unknown};

pub(super) struct Lock(pub(super) Queues);

type Answer<T> = Result<Response<T>, Status>;

impl Lock {
    async fn take(&self, request: Request<LockRequest>) -> Result<LockResponse, Status> {
        let _place = self.0.place()?;
        let session = self.0.of(&request);
        let LockRequest { name, lease } = request.into_inner();
        let lease = session.lease(lease).await?;
        let entered = session.enter(&name, lease, bytes::Bytes::new()).await?;
        let (first, _) = session.holder(&name).await?;
        if first.is_some_and(|first| first.create_revision == entered.place.revision) {
            let (place, header) = entered.keep();
            return Ok(LockResponse { header, key: place.key });
        }
        session.wait(&entered.place).await?;
        let own = RangeRequest { key: entered.place.key.clone(), ..RangeRequest::default() };
        let own = session.range(own).await?;
        if own.kvs.first().is_none_or(|kv| kv.create_revision != entered.place.revision) {
            return Err(Status::unknown("mutex: session is expired"));
        }
        let (place, _) = entered.keep();
        Ok(LockResponse { header: own.header, key: place.key })
    }
}

#[tonic::async_trait]
impl lock_server::Lock for Lock {
    async fn lock(&self, request: Request<LockRequest>) -> Answer<LockResponse> {
        named(&request.get_ref().name)?;
        self.take(request).await.map(Response::new).map_err(unknown)
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        let session = self.0.of(&request);
        let header = session.delete(request.into_inner().key).await.map_err(unknown)?;
        Ok(Response::new(UnlockResponse { header }))
    }
}
