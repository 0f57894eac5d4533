//! One probe of one check: ask, measure the phases, and say in words what came of it.

use std::{sync::Arc, time::Duration};

use watchkeep_catalog::{Check, Kind};

use crate::target::{Target, TargetId};

mod alias;
mod assertion;
mod certificate;
mod connect;
mod context;
pub(crate) mod dns;
mod etcd;
mod files;
mod grpc;
pub(crate) mod http;
mod icmp;
mod policy;
mod resolver;
mod script;
mod stopwatch;
mod tcp;
pub(crate) mod tls;
mod ttl;
mod unix;
mod websocket;

use alias::AliasProbe;
use assertion::{Assertions, Language};
use certificate::CertificateProbe;
pub(crate) use connect::Endpoint;
pub(crate) use context::{Context, Rooms};
use dns::DnsProbe;
use etcd::EtcdProbe;
pub(crate) use files::Files;
use grpc::GrpcProbe;
use http::HttpProbe;
use icmp::IcmpProbe;
pub(crate) use policy::Policy;
use script::ScriptProbe;
use stopwatch::Phase;
pub(crate) use stopwatch::{FACTS_MAX, Fact, Phases, Stopwatch};
use tcp::TcpProbe;
use ttl::TtlProbe;
use unix::UnixProbe;
use websocket::WebSocketProbe;

/// What came of a probe.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) good: bool,
    /// `status 200`, or what went wrong.
    pub(crate) reason: String,
    pub(crate) duration: Duration,
    pub(crate) phases: Phases,
    /// What else was measured.
    pub(crate) facts: Vec<Fact>,
    /// What it did and when, counted from its start; empty unless it was [`Prober::run_by_hand`].
    pub(crate) notes: Vec<(Duration, String)>,
}

impl Outcome {
    /// Of a check that can never succeed.
    pub(crate) fn never(reason: &str) -> Self {
        Self {
            good: false,
            reason: reason.to_owned(),
            duration: Duration::ZERO,
            phases: Phases::default(),
            facts: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// A check made ready: names, patterns and headers are parsed once.
#[derive(Debug)]
pub(crate) struct Prober {
    endpoint: Endpoint,
    timeout: Duration,
    probe: Probe,
    assertions: Assertions,
}

/// A probe per kind; the larger ones are boxed, so that a check takes no more room than it needs.
#[derive(Debug)]
enum Probe {
    Http(Box<HttpProbe>),
    Tcp(Box<TcpProbe>),
    Tls(Box<CertificateProbe>),
    WebSocket(Box<WebSocketProbe>),
    Unix(UnixProbe),
    Grpc(Box<GrpcProbe>),
    Dns(Box<DnsProbe>),
    Icmp(IcmpProbe),
    Script(Box<ScriptProbe>),
    Etcd(Box<EtcdProbe>),
    Ttl(TtlProbe),
    Alias(Box<AliasProbe>),
}

impl Prober {
    /// Makes a target's check ready.
    ///
    /// # Errors
    /// In words, when the check can never succeed: its pattern, method or a header is malformed.
    pub(crate) fn new(target: &Target, context: &Arc<Context>) -> Result<Self, String> {
        Self::make(&target.address, target.port, &target.check, context, Some(&target.id))
    }

    /// Makes a check of any `address` and `port` ready; the check may name another port.
    ///
    /// # Errors
    /// As [`Prober::new`].
    pub(crate) fn of(
        address: &str,
        port: u16,
        check: &Check,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        Self::make(address, port, check, context, None)
    }

    fn make(
        address: &str,
        port: u16,
        check: &Check,
        context: &Arc<Context>,
        id: Option<&TargetId>,
    ) -> Result<Self, String> {
        let kind = check.kind().ok_or("no kind is set")?;
        let endpoint = Endpoint {
            address: address.to_owned(),
            port: kind.settings().port().unwrap_or(port),
            source: check.source_ip_address,
            reuse: check.reuse,
            policy: context.policy.clone(),
            ip_protocol: check.ip_protocol,
            fallback: check.ip_protocol_fallback,
        };
        let probe = match kind {
            Kind::Http(http) => Probe::Http(Box::new(HttpProbe::new(&endpoint, http, context)?)),
            Kind::Tcp(tcp) => Probe::Tcp(Box::new(TcpProbe::new(&endpoint, tcp, context)?)),
            Kind::Tls(tls) => Probe::Tls(Box::new(CertificateProbe::new(&endpoint, tls, context)?)),
            Kind::WebSocket(socket) => {
                Probe::WebSocket(Box::new(WebSocketProbe::new(&endpoint, socket, context)?))
            }
            Kind::Unix(unix) => Probe::Unix(UnixProbe::new(unix, context)?),
            Kind::Grpc(grpc) => Probe::Grpc(Box::new(GrpcProbe::new(&endpoint, grpc, context)?)),
            Kind::Dns(dns) => Probe::Dns(Box::new(DnsProbe::new(&endpoint, dns, context)?)),
            Kind::Icmp(icmp) => Probe::Icmp(IcmpProbe::new(icmp)),
            Kind::Script(script) => {
                let folder = context.rooms.scripts.as_deref();
                Probe::Script(Box::new(ScriptProbe::new(&endpoint, script, folder)?))
            }
            Kind::Etcd(etcd) => Probe::Etcd(Box::new(EtcdProbe::new(&endpoint, etcd, context)?)),
            Kind::Ttl(ttl) => Probe::Ttl(TtlProbe::new(id, ttl, context.rooms.reports.as_ref())?),
            Kind::Alias(alias) => {
                Probe::Alias(Box::new(AliasProbe::new(alias, context.rooms.client.as_ref())?))
            }
        };
        let assertions = Assertions::new(kind.name(), &check.assertions, &context.language)?;
        Ok(Self { endpoint, timeout: Duration::from_millis(check.timeout_ms), probe, assertions })
    }

    /// Probes once, over a connection of its own, for no longer than the check's timeout.
    pub(crate) async fn run(&self) -> Outcome {
        self.measure(Stopwatch::start(!self.assertions.is_empty())).await
    }

    /// As [`Prober::run`], with notes of what it does.
    pub(crate) async fn run_by_hand(&self) -> Outcome {
        self.measure(Stopwatch::start(true).noting()).await
    }

    async fn measure(&self, mut watch: Stopwatch) -> Outcome {
        let result = tokio::time::timeout(self.timeout, self.ask(&mut watch)).await;
        let ended_in = watch.phase;
        watch.enter(ended_in);
        let result = result.unwrap_or_else(|_| self.late(ended_in, &watch));
        let result = result.and_then(|words| self.judge(&mut watch).map(|()| words));
        let good = result.is_ok();
        self.conclude(&mut watch, good);
        let (Ok(reason) | Err(reason)) = result;
        Outcome {
            good,
            reason,
            duration: watch.mark - watch.started,
            phases: watch.phases,
            facts: watch.take_facts(),
            notes: watch.take_notes(),
        }
    }

    /// Judges the assertions.
    fn judge(&self, watch: &mut Stopwatch) -> Result<(), String> {
        if self.assertions.is_empty() {
            return Ok(());
        }
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let timings =
            watch.phases.named().map(|(phase, took)| (format!("{phase}_ms"), ms(took).into()));
        watch.expose("timings", serde_json::Map::from_iter(timings));
        watch.expose("duration_ms", ms(watch.mark - watch.started));
        watch.expose("now", chrono::Utc::now().timestamp());
        self.assertions.judge(watch.take_exposed())
    }

    /// A probe is as large as the largest kind, and is moved more than once before it runs: so each has a box of its own.
    async fn ask(&self, watch: &mut Stopwatch) -> Result<String, String> {
        let endpoint = &self.endpoint;
        match &self.probe {
            Probe::Http(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Tcp(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Tls(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::WebSocket(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Unix(probe) => Box::pin(probe.run(watch)).await,
            Probe::Grpc(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Dns(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Icmp(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Script(probe) => Box::pin(probe.run(watch)).await,
            Probe::Etcd(probe) => Box::pin(probe.run(endpoint, watch)).await,
            Probe::Ttl(probe) => Box::pin(probe.run(watch)).await,
            Probe::Alias(probe) => Box::pin(probe.run(watch)).await,
        }
    }

    /// Facts that are known only at the end, however it came.
    fn conclude(&self, watch: &mut Stopwatch, good: bool) {
        match &self.probe {
            Probe::Grpc(_) => GrpcProbe::conclude(watch),
            Probe::Dns(_) => DnsProbe::conclude(watch),
            Probe::Icmp(_) => IcmpProbe::conclude(watch, good),
            _ => {}
        }
    }

    fn late(&self, phase: Phase, watch: &Stopwatch) -> Result<String, String> {
        if let Probe::Alias(alias) = &self.probe
            && let Some(last) = alias.last()
        {
            return last;
        }
        let (own, ms) = (self.endpoint.to_string(), self.timeout.as_millis());
        let (address, endpoint) = match &watch.towards {
            Some((address, endpoint)) => (address, endpoint),
            None => (&self.endpoint.address, &own),
        };
        Err(match phase {
            Phase::Token => format!("no OAuth 2.0 token within {ms} ms"),
            Phase::Resolve => format!("resolve {address}: no answer within {ms} ms"),
            Phase::Connect => format!("connect to {endpoint}: no answer within {ms} ms"),
            Phase::Tls => format!("TLS with {endpoint}: no answer within {ms} ms"),
            Phase::Processing => format!("no answer within {ms} ms"),
            Phase::Transfer => format!("no whole answer within {ms} ms"),
        })
    }
}

/// Judges what can be told of a check without the files and addresses of a collector: its regular
/// expressions and its assertions.
///
/// # Errors
/// In words, naming the field.
pub fn judge(check: &Check) -> Result<(), String> {
    match check.kind() {
        Some(Kind::Http(http)) => http::judge(http)?,
        Some(Kind::WebSocket(socket)) => websocket::judge(socket)?,
        Some(Kind::Tcp(tcp)) => TcpProbe::readable(tcp)?,
        Some(Kind::Dns(dns)) => DnsProbe::readable(dns)?,
        _ => {}
    }
    Assertions::new(check.kind_name(), &check.assertions, &Language::default()).map(drop)
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
mod rig;
#[cfg(test)]
mod tests;
