//! One probe of one check: ask, measure the phases, and say in words what came of it.

use std::{sync::Arc, time::Duration};

use crate::target::Target;
use rustls::ClientConfig;
use tokio::time::Instant;

mod connect;
mod http;
mod tcp;
pub(crate) mod tls;

use connect::Endpoint;
use http::HttpProbe;
use tcp::TcpProbe;

/// What a probe does, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resolve,
    Connect,
    Tls,
    Processing,
    Transfer,
}

/// How long each phase took; zero for one that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    /// Name to addresses.
    pub(crate) resolve: Duration,
    /// TCP handshake.
    pub(crate) connect: Duration,
    /// TLS handshake.
    pub(crate) tls: Duration,
    /// From the request to the answer's head.
    pub(crate) processing: Duration,
    /// The answer's body.
    pub(crate) transfer: Duration,
}

/// What came of a probe.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) good: bool,
    /// `status 200`, or what went wrong.
    pub(crate) reason: String,
    pub(crate) duration: Duration,
    pub(crate) phases: Phases,
}

/// Measures a probe.
struct Stopwatch {
    started: Instant,
    mark: Instant,
    phase: Phase,
    phases: Phases,
}

impl Stopwatch {
    fn start() -> Self {
        let now = Instant::now();
        Self { started: now, mark: now, phase: Phase::Resolve, phases: Phases::default() }
    }

    /// Ends the phase that runs and begins `next`.
    fn enter(&mut self, next: Phase) {
        let now = Instant::now();
        let phase = match self.phase {
            Phase::Resolve => &mut self.phases.resolve,
            Phase::Connect => &mut self.phases.connect,
            Phase::Tls => &mut self.phases.tls,
            Phase::Processing => &mut self.phases.processing,
            Phase::Transfer => &mut self.phases.transfer,
        };
        *phase += now - self.mark;
        (self.mark, self.phase) = (now, next);
    }
}

/// A check made ready: names, patterns and headers are parsed once.
#[derive(Debug)]
pub(crate) struct Prober {
    endpoint: Endpoint,
    timeout: Duration,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
}

impl Prober {
    /// Makes a target's check ready.
    ///
    /// # Errors
    /// In words, when the check can never succeed: its pattern, method or a header is malformed.
    pub(crate) fn new(target: &Target, tls: &Arc<ClientConfig>) -> Result<Self, String> {
        let check = &target.check;
        let other_port = check.http.as_ref().and_then(|h| h.port);
        let other_port = other_port.or_else(|| check.tcp.as_ref().and_then(|t| t.port));
        let endpoint =
            Endpoint { address: target.address.clone(), port: other_port.unwrap_or(target.port) };
        let kind = match &check.http {
            Some(http) => Kind::Http(Box::new(HttpProbe::new(&endpoint, http, tls)?)),
            None => Kind::Tcp(TcpProbe),
        };
        Ok(Self { endpoint, timeout: Duration::from_millis(check.timeout_ms), kind })
    }

    /// Probes once, over a connection of its own, for no longer than the check's timeout.
    pub(crate) async fn run(&self) -> Outcome {
        let mut watch = Stopwatch::start();
        let probe = async {
            match &self.kind {
                Kind::Http(probe) => probe.run(&self.endpoint, &mut watch).await,
                Kind::Tcp(probe) => probe.run(&self.endpoint, &mut watch).await,
            }
        };
        let result = tokio::time::timeout(self.timeout, probe).await;
        let ended_in = watch.phase;
        watch.enter(ended_in);
        let result = result.unwrap_or_else(|_| Err(self.late(ended_in)));
        let good = result.is_ok();
        let (Ok(reason) | Err(reason)) = result;
        Outcome { good, reason, duration: watch.mark - watch.started, phases: watch.phases }
    }

    fn late(&self, phase: Phase) -> String {
        let (endpoint, ms) = (&self.endpoint, self.timeout.as_millis());
        match phase {
            Phase::Resolve => format!("resolve {}: no answer within {ms} ms", endpoint.address),
            Phase::Connect => format!("connect to {endpoint}: no answer within {ms} ms"),
            Phase::Tls => format!("TLS with {endpoint}: no answer within {ms} ms"),
            Phase::Processing => format!("no answer within {ms} ms"),
            Phase::Transfer => format!("no whole answer within {ms} ms"),
        }
    }
}

/// An error and its causes in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error
            .downcast_ref::<std::io::Error>()
            .map_or_else(|| error.to_string(), connect::io_words);
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
