//! `etcdserverpb.Watch`. A stream of responses makes each one when the client is ready to take it: from memory, or from
//! the `events` table when a watcher has fallen behind. Nothing waits anywhere for a slow client.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Status, Streaming};
use watchkeep_api::etcdserverpb::WatchRequest;

use super::{header, require_leader};
use crate::cluster::Cluster;

mod session;
#[cfg(test)]
mod tests;
mod watcher;
mod wire;

use session::Session;

/// The service.
#[derive(Clone)]
pub(super) struct Watch(pub(super) Cluster);

type Responses = Pin<Box<dyn Stream<Item = Result<wire::Frame, Status>> + Send>>;

impl Watch {
    fn responses(&self, request: Request<Streaming<WatchRequest>>) -> Responses {
        let require_leader = require_leader::asked(&request);
        let credentials = request.extensions().get().cloned().unwrap_or_default();
        let requests = request.into_inner();
        let session = Session::new(self.0.clone(), requests, require_leader, credentials);
        Box::pin(futures::stream::unfold(Box::new(session), |mut session| async move {
            session.next().await.map(|response| (response, session))
        }))
    }
}
