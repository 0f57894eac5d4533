//! Who may call which method, before it is called. What depends on keys is asked later, where the keys are known: here
//! it is only whether a caller is known, or has root's role. A method that is not listed is root's.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use crate::{
    auth::{Caller, Credentials},
    cluster::Cluster,
};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Anybody: who logs in is not known yet, and a probe has no password.
    Nobody,
    /// The method asks for itself, for each message of its stream.
    Later,
    /// Whoever is known.
    Somebody,
    /// Who has root's role.
    Root,
}

/// By service and method (etcd: `AuthAdmin` and `requireAuthInfo`, `needAdminPermission` for what goes into the log).
fn need(path: &str) -> Need {
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return Need::Root;
    };
    match (service, method) {
        ("etcdserverpb.Auth", "Authenticate")
        | ("grpc.health.v1.Health", _)
        | ("grpc.reflection.v1.ServerReflection", _)
        | ("grpc.reflection.v1alpha.ServerReflection", _) => Need::Nobody,
        ("etcdserverpb.Watch", _) => Need::Later,
        ("etcdserverpb.KV", "Compact") => Need::Root,
        ("etcdserverpb.KV" | "etcdserverpb.Lease", _)
        | ("v3lockpb.Lock" | "v3electionpb.Election", _)
        | ("etcdserverpb.Cluster", "MemberList")
        | ("etcdserverpb.Auth", "UserGet" | "RoleGet") => Need::Somebody,
        _ => Need::Root,
    }
}

impl Caller {
    /// Who a request comes from, as the gate found it.
    pub(crate) fn of<T>(request: &tonic::Request<T>, cluster: &Cluster) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| cluster.auth().nobody())
    }
}

/// Puts a gate before services.
#[derive(Clone)]
pub(crate) struct GateLayer(pub(crate) Cluster);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { cluster: self.0.clone(), inner }
    }
}

/// The gate before services.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    cluster: Cluster,
    inner: S,
}

type Answer<B> = Result<Response<B>, Infallible>;
type Asked<B> = Pin<Box<dyn Future<Output = Answer<B>> + Send>>;

impl<S, A, B> Service<Request<A>> for Gate<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
    B: Default + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<S::Future, Asked<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        if !self.cluster.auth().enabled() {
            return Either::Left(self.inner.call(request));
        }
        let need = need(request.uri().path());
        if need == Need::Nobody {
            return Either::Left(self.inner.call(request));
        }
        let credentials = Credentials::of(request.headers(), request.extensions());
        if need == Need::Later {
            request.extensions_mut().insert(credentials);
            return Either::Left(self.inner.call(request));
        }
        let cluster = self.cluster.clone();
        // The one that is ready is called, and its clone waits for the next request.
        let ready_one = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready_one);
        let asked: Asked<B> = Box::pin(async move {
            match admit(&cluster, credentials, need).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        });
        Either::Right(asked)
    }
}

async fn admit(cluster: &Cluster, credentials: Credentials, need: Need) -> Result<Caller, Status> {
    let auth = cluster.auth();
    let caller = auth.caller(credentials, cluster.applied_index()).await?;
    match need {
        Need::Root => auth.check_root(&caller)?,
        _ => auth.check_known(&caller)?,
    }
    Ok(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_root_has_keys_and_leases() {
        for (path, expected) in [
            ("/etcdserverpb.KV/Put", Need::Somebody),
            ("/etcdserverpb.KV/Compact", Need::Root),
            ("/etcdserverpb.Lease/LeaseKeepAlive", Need::Somebody),
            ("/etcdserverpb.Watch/Watch", Need::Later),
            ("/etcdserverpb.Auth/Authenticate", Need::Nobody),
            ("/etcdserverpb.Auth/UserAdd", Need::Root),
            ("/etcdserverpb.Auth/UserGet", Need::Somebody),
            ("/etcdserverpb.Cluster/MemberAdd", Need::Root),
            ("/etcdserverpb.Cluster/MemberList", Need::Somebody),
            ("/etcdserverpb.Maintenance/Alarm", Need::Root),
            ("/etcdserverpb.Maintenance/Snapshot", Need::Root),
            ("/v3lockpb.Lock/Lock", Need::Somebody),
            ("/grpc.health.v1.Health/Check", Need::Nobody),
            ("/what.comes/Next", Need::Root),
            ("/", Need::Root),
        ] {
            assert_eq!(need(path), expected, "{path}");
        }
    }
}
