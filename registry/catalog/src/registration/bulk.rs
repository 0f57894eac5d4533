//! Many at once: what an agent registers and keeps alive for a whole host. Each instance has a lease of its own, so that
//! one whose heartbeats stop vanishes alone, and none waits for another's agent.

use std::collections::HashSet;

use futures::{StreamExt, stream};

use super::{RegisterError, Registered, TTL_SECONDS_MAX, heartbeat};
use crate::{
    Catalog, Instance,
    client::{Client, ClientError, Op, Renewer, Txn},
    keys,
};

/// Calls under way at once for one caller.
const CALLS_MAX: usize = 128;
/// Instances written by one transaction: etcd allows 128 operations.
const WRITTEN_TOGETHER: usize = 100;

/// An instance to register, and its TTL in seconds.
pub type Wanted = (Instance, Option<i64>);

/// Registers each, or says why not; answers in the order of `wanted`. Instances of `known` that are registered again get a
/// new lease, and the one before is given back.
pub async fn register_all(
    client: &Client,
    known: &Catalog,
    wanted: Vec<Wanted>,
) -> Vec<Result<Registered, RegisterError>> {
    let mut seen = HashSet::new();
    let judged = wanted.into_iter().map(|(instance, ttl)| {
        instance.validate()?;
        let seconds = ttl.unwrap_or(0);
        if ttl.is_some() && !(1..=TTL_SECONDS_MAX).contains(&seconds) {
            return Err(RegisterError::Ttl(seconds));
        }
        if !seen.insert((instance.service.clone(), instance.id.clone())) {
            return Err(RegisterError::Twice(instance.id));
        }
        Ok((instance, seconds))
    });
    let judged: Vec<Result<(Instance, i64), RegisterError>> = judged.collect();
    let granted = judged.into_iter().map(|judged| async move {
        let (instance, seconds) = judged?;
        let lease = if seconds > 0 { client.grant(seconds).await? } else { 0 };
        Ok::<_, RegisterError>((instance, lease))
    });
    let granted: Vec<_> = granted.collect();
    let mut results: Vec<Result<(Instance, i64), RegisterError>> =
        stream::iter(granted).buffered(CALLS_MAX).collect().await;
    let mut outcomes = Vec::with_capacity(results.len());
    let mut former = Vec::new();
    for chunk in results.chunks_mut(WRITTEN_TOGETHER) {
        let mut txn = Txn::new();
        for (instance, lease) in chunk.iter().flatten() {
            let key = keys::instance(&instance.service, &instance.id);
            let value = serde_json::to_vec(instance).unwrap_or_default();
            txn = txn.then(Op::put(&key, value, *lease));
        }
        let written = client.txn(txn).await;
        for one in chunk {
            let one = std::mem::replace(one, Err(RegisterError::Ttl(0)));
            outcomes.push(one.and_then(|(instance, lease)| {
                let revision = written.as_ref().map_err(ClientError::again)?.revision;
                let before = known.instance(&instance.service, &instance.id);
                former.extend(before.map(|seen| seen.lease).filter(|lease| *lease != 0));
                Ok(Registered { lease, revision })
            }));
        }
    }
    // What cannot be given back runs out by itself: no key hangs on it any more.
    let revoked: Vec<_> = former.into_iter().map(|lease| client.revoke(lease)).collect();
    stream::iter(revoked).buffer_unordered(CALLS_MAX).for_each(|_| async {}).await;
    outcomes
}

/// Renews each, or says why not; answers with the seconds it has now, in the order of `places` (service and id).
pub async fn heartbeat_all(
    client: &Client,
    renewer: &Renewer,
    known: &Catalog,
    places: &[(String, String)],
) -> Vec<Result<i64, RegisterError>> {
    let lease = |(service, id): &(String, String)| {
        known.instance(service, id).map(|seen| seen.lease).filter(|lease| *lease != 0)
    };
    let leases: Vec<Option<i64>> = places.iter().map(lease).collect();
    let asked: Vec<i64> = leases.iter().flatten().copied().collect();
    let mut renewed = renewer.renew(&asked).await.into_iter();
    let quick = leases.iter().map(|lease| lease.and_then(|_| renewed.next().flatten()));
    let quick: Vec<Option<i64>> = quick.collect();
    // What memory does not know, or knows with a lease that is gone, may have been registered a moment ago.
    let all = places.iter().zip(quick).map(|((service, id), quick)| async move {
        match quick {
            Some(left) if left > 0 => Ok(left),
            _ => heartbeat(client, service, id).await,
        }
    });
    let all: Vec<_> = all.collect();
    stream::iter(all).buffered(CALLS_MAX).collect().await
}
