//! What a client asks for with `hasleader` (etcd's clients: `WithRequireLeader`): a member that has lost the quorum refuses
//! at once instead of letting the client wait, and ends its streams, so that the client goes to another.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, future::Either, stream};
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use crate::cluster::{Cluster, ClusterError};

/// The name in a call's metadata, and its only value.
const NAME: &str = "hasleader";
const VALUE: &str = "true";

/// How often an open stream looks whether there still is a leader.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);

/// Whether a call asks for it.
pub(super) fn asked<T>(request: &tonic::Request<T>) -> bool {
    request.metadata().get(NAME).is_some_and(|value| value == VALUE)
}

fn asked_by(headers: &HeaderMap) -> bool {
    headers.get(NAME).is_some_and(|value| value == VALUE)
}

/// These answers, ended with an error when this member has lost its leader.
pub(super) fn while_led<T: Send + 'static>(
    cluster: Cluster,
    answers: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let lost = stream::once(async move {
        while cluster.has_leader() {
            tokio::time::sleep(INTERVAL).await;
        }
        Some(Err(ClusterError::NoLeader.into()))
    });
    let answers = answers.map(Some).chain(stream::once(ready(None)));
    stream::select(answers, lost).take_while(|answer| ready(answer.is_some())).filter_map(ready)
}

/// Puts the refusal before services.
#[derive(Clone)]
pub(crate) struct RequireLeaderLayer(pub(crate) Cluster);

impl<S> Layer<S> for RequireLeaderLayer {
    type Service = RequireLeader<S>;

    fn layer(&self, inner: S) -> RequireLeader<S> {
        RequireLeader { cluster: self.0.clone(), inner }
    }
}

/// The refusal before services.
#[derive(Clone)]
pub(crate) struct RequireLeader<S> {
    cluster: Cluster,
    inner: S,
}

impl<S, A, B> Service<Request<A>> for RequireLeader<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<B>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        if asked_by(request.headers()) && !self.cluster.has_leader() {
            let refused: Status = ClusterError::NoLeader.into();
            return Either::Right(ready(Ok(refused.into_http())));
        }
        Either::Left(self.inner.call(request))
    }
}
