//! The endpoints of a client: one is used until it fails, then the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use watchkeep_api::{
    causes,
    tls::{self, ClientTls},
};

use super::{
    ClientError, ClientTlsConfig,
    transport::{OwnMember, Transport},
};

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 pings notice a peer that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    channels: Arc<[(String, Transport)]>,
    current: Arc<AtomicUsize>,
}

impl Endpoints {
    pub(super) fn new(endpoints: &[String], tls: &ClientTlsConfig) -> Result<Self, ClientError> {
        if endpoints.is_empty() {
            return Err(ClientError::Endpoint {
                endpoint: String::new(),
                message: "none is given".to_owned(),
            });
        }
        // Files are read when they are needed, and then all endpoints share them.
        let secure = endpoints.iter().any(|url| url.starts_with("https://"));
        let tls = secure.then(|| tls.load()).transpose()?;
        let channels =
            endpoints.iter().map(|url| connect(url, tls.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { channels, current: Arc::default() })
    }

    /// The same, with the endpoint at `url` in this process. Where there is no such endpoint, nothing changes.
    pub(super) fn with_own(self, url: &str, member: &OwnMember) -> Self {
        let own = |(at, network): &(String, Transport)| match at == url {
            true => (at.clone(), Transport::Own(member.clone())),
            false => (at.clone(), network.clone()),
        };
        Self { channels: self.channels.iter().map(own).collect(), ..self }
    }

    /// The endpoint in use and its number.
    pub(super) fn current(&self) -> (usize, Transport) {
        let at = self.current.load(Ordering::Relaxed) % self.channels.len();
        (at, self.channels[at].1.clone())
    }

    /// Moves on from `at`, unless somebody else has already.
    pub(super) fn rotate(&self, at: usize) {
        let next = (at + 1) % self.channels.len();
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn error(&self, at: usize, what: &str, status: &tonic::Status) -> ClientError {
        ClientError::Status {
            what: what.to_owned(),
            endpoint: self.channels[at].0.clone(),
            code: status.code(),
            message: causes(status),
        }
    }
}

fn connect(url: &str, tls: Option<&ClientTls>) -> Result<(String, Transport), ClientError> {
    let refuse = |message: String| ClientError::Endpoint { endpoint: url.to_owned(), message };
    let secure = url.starts_with("https://");
    let endpoint = tls::endpoint(url).map_err(|e| refuse(e.to_string()))?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().port().is_none() {
        return Err(refuse("scheme http or https and a port are needed".to_owned()));
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    Ok((url.to_owned(), Transport::Network(tls::channel(endpoint, tls.filter(|_| secure)))))
}
