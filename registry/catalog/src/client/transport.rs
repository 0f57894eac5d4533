//! The way to an endpoint: over the network or, to a member that runs in this process, by a call. The requests are the same.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{body::Body, transport::Channel};
use tower::{BoxError, Service, util::BoxCloneSyncService};

/// A member of the registry in this process: what its client listener answers, without a connection.
pub type OwnMember = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Reaches one endpoint.
#[derive(Clone)]
pub(super) enum Transport {
    Network(Channel),
    Own(OwnMember),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "Network",
            Self::Own(_) => "Own",
        })
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Network(channel) => channel.poll_ready(context).map_err(Into::into),
            Self::Own(member) => member.poll_ready(context).map_err(|never| match never {}),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Network(channel) => {
                let answering = channel.call(request);
                Box::pin(async move { Ok(answering.await?) })
            }
            Self::Own(member) => {
                let answering = member.call(request);
                Box::pin(async move { answering.await.map_err(|never| match never {}) })
            }
        }
    }
}
