//! A look at one member of any etcd, over a connection that the caller has made: so it is that member's answer, and
//! nobody else's.

use std::{
    io,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::Channel,
};
use watchkeep_api::etcdserverpb::{
    AlarmRequest, AlarmType, AuthenticateRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, StatusRequest, auth_client::AuthClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient,
};

/// What a canary's lease lasts, should nobody revoke it.
const CANARY_TTL_SECONDS: i64 = 60;
/// The key that is read to see whether the member reads with its cluster; there need not be one.
const READ: &str = "health";

/// What to ask.
#[derive(Clone, Copy, Default)]
pub struct Examination<'a> {
    /// Who asks, with a password.
    pub login: Option<(&'a str, &'a str)>,
    /// Below this key something is written, read and deleted again.
    pub canary_key: Option<&'a str>,
}

/// What a member says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemberState {
    /// Its id.
    pub id: u64,
    /// Of its software.
    pub version: String,
    /// Whom it holds for the leader; 0: nobody.
    pub leader: u64,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// Entries of the log that are committed and not applied.
    pub raft_lag: u64,
    /// Size of its database.
    pub db_bytes: u64,
    /// What of it is in use.
    pub db_in_use_bytes: u64,
    /// Alarms, each as `NOSPACE of member 8e9e05c52164694d`.
    pub alarms: Vec<String>,
    /// What it says is wrong.
    pub errors: Vec<String>,
    /// How long its status took.
    pub status_took: Duration,
    /// How long a read took, linearizable unless it is a learner.
    pub read_took: Duration,
    /// How long the canary took, if there was one.
    pub canary_took: Option<Duration>,
}

type Link = InterceptedService<Channel, Bearer>;

/// Sends the token with each call.
#[derive(Debug, Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Asks the member at the other end of `stream`; `url` is what it is called there.
///
/// # Errors
/// In words, when a call fails: which, and why.
pub async fn examine<S>(stream: S, url: &str, ask: Examination<'_>) -> Result<MemberState, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let endpoint = watchkeep_api::tls::endpoint(url).map_err(|e| format!("{url}: {e}"))?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::other("the connection is closed"));
        std::future::ready(stream)
    });
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|e| format!("no HTTP/2: {}", watchkeep_api::causes(&e)))?;
    let token = match ask.login {
        None => None,
        Some((name, password)) => Some(log_in(channel.clone(), name, password).await?),
    };
    let link = InterceptedService::new(channel, Bearer(token));
    let mut state = status(link.clone()).await?;
    if state.leader == 0 {
        // Nobody would answer.
        return Ok(state);
    }
    if state.is_learner {
        // It serves nothing else: alarms stand in its status, and it reads alone.
        state.read_took = read(link, true).await?;
        return Ok(state);
    }
    state.alarms = alarms(link.clone()).await?;
    if state.alarms.iter().any(|alarm| alarm.starts_with(AlarmType::Corrupt.as_str_name())) {
        // It reads and writes no more: the alarm says why.
        return Ok(state);
    }
    state.read_took = read(link.clone(), false).await?;
    if let Some(key) = ask.canary_key {
        state.canary_took = Some(canary(link, key).await?);
    }
    Ok(state)
}

async fn log_in(
    channel: Channel,
    name: &str,
    password: &str,
) -> Result<MetadataValue<Ascii>, String> {
    let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    let answer = AuthClient::new(channel).authenticate(request).await;
    let answer = answer.map_err(|e| failed("authenticate", &e))?;
    answer.into_inner().token.parse().map_err(|_| "authenticate: its token is no text".to_owned())
}

/// What the member itself says.
async fn status(link: Link) -> Result<MemberState, String> {
    let asked = Instant::now();
    let status = MaintenanceClient::new(link).status(StatusRequest {}).await;
    let (status, status_took) =
        (status.map_err(|e| failed("status", &e))?.into_inner(), asked.elapsed());
    Ok(MemberState {
        id: status.header.map_or(0, |header| header.member_id),
        version: status.version,
        leader: status.leader,
        is_learner: status.is_learner,
        raft_lag: status.raft_index.saturating_sub(status.raft_applied_index),
        db_bytes: u64::try_from(status.db_size).unwrap_or_default(),
        db_in_use_bytes: u64::try_from(status.db_size_in_use).unwrap_or_default(),
        errors: status.errors,
        status_took,
        ..MemberState::default()
    })
}

/// The cluster's alarms: etcd answers by way of its log.
async fn alarms(link: Link) -> Result<Vec<String>, String> {
    // By default this is a question.
    let asked = MaintenanceClient::new(link).alarm(AlarmRequest::default()).await;
    let alarms = asked.map_err(|e| failed("alarms", &e))?.into_inner().alarms;
    let show = |alarm: watchkeep_api::etcdserverpb::AlarmMember| {
        let name = AlarmType::try_from(alarm.alarm).map_or("unknown", |kind| kind.as_str_name());
        format!("{name} of member {:x}", alarm.member_id)
    };
    Ok(alarms.into_iter().map(show).collect())
}

/// A linearizable read needs the leader and a majority; a serializable one the member alone.
async fn read(link: Link, serializable: bool) -> Result<Duration, String> {
    let asked = Instant::now();
    let request =
        RangeRequest { key: READ.into(), limit: 1, serializable, ..RangeRequest::default() };
    match KvClient::new(link).range(request).await {
        // That it says so takes a look at the cluster's users.
        Err(error) if error.code() != Code::PermissionDenied => Err(failed("read", &error)),
        _ => Ok(asked.elapsed()),
    }
}

/// Writes, reads and deletes a key of its own.
async fn canary(link: Link, prefix: &str) -> Result<Duration, String> {
    let asked = Instant::now();
    let (mut leases, mut kv) = (LeaseClient::new(link.clone()), KvClient::new(link));
    let grant = LeaseGrantRequest { ttl: CANARY_TTL_SECONDS, id: 0 };
    let granted = leases.lease_grant(grant).await.map_err(|e| failed("canary's lease", &e))?;
    let lease = granted.into_inner().id;
    // Another collector's canary has another lease.
    let key = format!("{}/{lease:x}", prefix.trim_end_matches('/'));
    let value = bytes::Bytes::from(lease.to_string());
    let put = PutRequest {
        key: key.clone().into(),
        value: value.clone(),
        lease,
        ..PutRequest::default()
    };
    kv.put(put).await.map_err(|e| failed("canary's write", &e))?;
    let range = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
    let read = kv.range(range).await.map_err(|e| failed("canary's read", &e))?.into_inner();
    if read.kvs.first().map(|kv| &kv.value) != Some(&value) {
        return Err(format!("canary's read: {key} was written and is not there"));
    }
    let revoke = LeaseRevokeRequest { id: lease };
    leases.lease_revoke(revoke).await.map_err(|e| failed("canary's end", &e))?;
    Ok(asked.elapsed())
}

fn failed(what: &str, status: &Status) -> String {
    format!("{what}: {} ({:?})", watchkeep_api::causes(status), status.code())
}
