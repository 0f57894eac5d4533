//! Clients that hold leases: grant one, hang keys on it, renew it for a while at one member or another, then let it
//! run out or revoke it.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{sleep, timeout};
use tonic::{Status, transport::Channel};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, lease_client::LeaseClient,
};

use crate::{
    clients::{Client, Run},
    history::{Action, Call, Lease, Step},
    rpc,
};

/// How long an owner waits for a grant or a renewal.
const PATIENCE: Duration = Duration::from_millis(1_500);
const TTL_SECONDS: [i64; 3] = [2, 3, 5];
/// Until the next try, when no member gives a lease.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes one lease after another until the run is over; all that it had.
pub(crate) async fn hold(id: usize, run: Run, seed: u64) -> Vec<Lease> {
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(id as u64));
    let mut client = Client::new(id, run.clone(), seed);
    let mut leases = Vec::new();
    while !run.is_over() {
        let member = random.random_range(0..run.members.len());
        client.go(member);
        match grant(&run, member, TTL_SECONDS[random.random_range(0..TTL_SECONDS.len())]).await {
            Some(lease) => leases.push(one(&run, &mut client, lease, &mut random).await),
            None => sleep(PAUSE).await,
        }
    }
    leases
}

fn connect(run: &Run, member: usize) -> LeaseClient<Channel> {
    LeaseClient::new(rpc::channel(&run.members[member].0))
}

async fn grant(run: &Run, member: usize, ttl: i64) -> Option<Lease> {
    let begin = run.now();
    let mut client = connect(run, member);
    let granted = timeout(PATIENCE, client.lease_grant(LeaseGrantRequest { ttl, id: 0 })).await;
    let granted = granted.ok()?.ok()?.into_inner();
    Some(Lease {
        id: granted.id,
        ttl: Duration::from_secs(granted.ttl.unsigned_abs()),
        keys: Vec::new(),
        promised: vec![begin],
        last_asked: run.now(),
        revoked: None,
        gone: None,
    })
}

async fn one(run: &Run, client: &mut Client, mut lease: Lease, random: &mut StdRng) -> Lease {
    // Both keys in one transaction: they are there together or not at all.
    let keys = ["x", "y"].map(|key| format!("lease/{}/{key}", lease.id));
    let puts = keys.clone().map(|key| Step::Put { key, value: client.value(), lease: lease.id });
    let hang = Action { call: Call::Txn, when: vec![], then: puts.to_vec(), otherwise: vec![] };
    let hung = client.perform(hang).await;
    if hung.is_some_and(|record| record.outcome().is_some()) {
        lease.keys = keys.to_vec();
    }
    for _ in 0..random.random_range(0..8) {
        sleep(lease.ttl.mul_f64(random.random_range(0.1..0.7))).await;
        if run.is_over() {
            break;
        }
        let member = random.random_range(0..run.members.len());
        if !renew(run, member, &mut lease).await {
            return lease;
        }
    }
    if random.random_bool(0.3) {
        lease.revoked = Some(run.now());
        let member = random.random_range(0..run.members.len());
        let mut client = connect(run, member);
        // Whether it went through does not matter: from now on it may be gone at any time.
        let _ = timeout(PATIENCE, client.lease_revoke(LeaseRevokeRequest { id: lease.id })).await;
    }
    lease
}

/// False when there is no such lease any more.
async fn renew(run: &Run, member: usize, lease: &mut Lease) -> bool {
    let begin = run.now();
    let asked = timeout(PATIENCE, keep_alive(connect(run, member), lease.id)).await;
    lease.last_asked = run.now();
    match asked {
        Ok(Ok(ttl)) if ttl > 0 => lease.promised.push(begin),
        Ok(Ok(_)) => lease.gone = Some(run.now()),
        Ok(Err(_)) | Err(_) => {}
    }
    lease.gone.is_none()
}

async fn keep_alive(mut client: LeaseClient<Channel>, id: i64) -> Result<i64, Status> {
    let asking = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = client.lease_keep_alive(asking).await?.into_inner();
    let answer = answers.message().await?;
    answer.map(|answer| answer.ttl).ok_or_else(|| Status::unavailable("no answer"))
}
