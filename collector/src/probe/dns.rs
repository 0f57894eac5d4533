//! The DNS probe: one question to the server that the instance is, by UDP, TCP or TLS; over a stream of its own, unless the
//! check asks for reuse: then it is kept for the next question (RFC 7766 §6.2.1).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};
use watchkeep_catalog::{DnsCheck, DnsTransport};

use super::{
    Context, Endpoint, Phase, Stopwatch,
    connect::{io_words, tell},
    http::connection::Stream,
    tls::Tls,
};

mod code;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod rules;
mod text;

use rules::Rules;

/// Largest datagram that is read; without EDNS none is larger than 512 bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct DnsProbe {
    transport: DnsTransport,
    tls: Option<Tls>,
    query: Query,
    recursion_desired: bool,
    /// Empty: `NOERROR`.
    good: Vec<ResponseCode>,
    answer: Rules,
    authority: Rules,
    additional: Rules,
    /// The stream of the last probe.
    kept: Mutex<Option<Kept>>,
}

/// A stream and where it leads.
struct Kept {
    stream: Box<dyn Stream>,
    peer: Option<SocketAddr>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl DnsProbe {
    /// Whether names, types, codes and expressions can be read.
    pub(super) fn readable(check: &DnsCheck) -> Result<(), String> {
        Self::read_check(check, None).map(drop)
    }

    pub(super) fn new(
        endpoint: &Endpoint,
        check: &DnsCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let tls = match check.transport {
            DnsTransport::Udp | DnsTransport::Tcp => None,
            DnsTransport::Tls => {
                let settings = check.tls.clone().unwrap_or_default();
                Some(context.tls(&settings, &[], &endpoint.address)?)
            }
        };
        Self::read_check(check, tls)
    }

    fn read_check(check: &DnsCheck, tls: Option<Tls>) -> Result<Self, String> {
        Ok(Self {
            transport: check.transport,
            tls,
            query: query(check)?,
            recursion_desired: check.recursion_desired,
            good: check.valid_rcodes.iter().map(|c| code::read(c)).collect::<Result<_, _>>()?,
            answer: Rules::new("answer", &check.validate_answer_rrs)?,
            authority: Rules::new("authority", &check.validate_authority_rrs)?,
            additional: Rules::new("additional", &check.validate_additional_rrs)?,
            kept: Mutex::default(),
        })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        for section in ["answer", "authority", "additional"] {
            watch.fact(format!("probe_dns_{section}_rrs"), 0.0);
        }
        let mut question = Message::query();
        question.metadata.recursion_desired = self.recursion_desired;
        question.add_query(self.query.clone());
        let bytes = question.to_vec().map_err(|e| format!("the question: {e}"))?;
        let answer = match self.transport {
            DnsTransport::Udp => {
                let server = endpoint.first(watch).await?;
                let way = (endpoint.local(server), server);
                self.by_datagram(way, &bytes, question.metadata.id, watch).await?
            }
            DnsTransport::Tcp | DnsTransport::Tls => {
                self.by_some_stream(endpoint, &bytes, question.metadata.id, watch).await?
            }
        };
        self.judge(&answer, watch)
    }

    /// Over the stream of the last probe, or over a new one.
    async fn by_some_stream(
        &self,
        endpoint: &Endpoint,
        question: &[u8],
        id: u16,
        watch: &mut Stopwatch,
    ) -> Result<Message, String> {
        let kept = self.kept().take();
        if let Some(mut kept) = kept {
            if let Some(peer) = kept.peer {
                tell(peer, watch);
            }
            // One that was closed meanwhile says nothing about the server.
            if let Ok(answer) = self.by_stream(&mut *kept.stream, question, id, watch).await {
                watch.note(|| "over the connection of the last probe".to_owned());
                *self.kept() = Some(kept);
                return Ok(answer);
            }
            watch.enter(Phase::Resolve);
        }
        let stream = endpoint.connect(watch).await?;
        let peer = stream.peer_addr().ok();
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(stream, endpoint, watch).await?),
        };
        let answer = self.by_stream(&mut *stream, question, id, watch).await?;
        if endpoint.reuse {
            *self.kept() = Some(Kept { stream, peer });
        }
        Ok(answer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn by_datagram(
        &self,
        (local, server): (SocketAddr, SocketAddr),
        question: &[u8],
        id: u16,
        watch: &mut Stopwatch,
    ) -> Result<Message, String> {
        let socket =
            UdpSocket::bind(local).await.map_err(|e| format!("no socket: {}", io_words(&e)))?;
        let failed = |e: std::io::Error| format!("ask {server}: {}", io_words(&e));
        socket.connect(server).await.map_err(failed)?;
        watch.enter(Phase::Processing);
        socket.send(question).await.map_err(failed)?;
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut bytes).await.map_err(failed)?;
            // What does not answer our question may come from anybody (RFC 5452 §9).
            if bytes[..length].starts_with(&id.to_be_bytes()) {
                return self.read(&bytes[..length], id);
            }
        }
    }

    async fn by_stream(
        &self,
        stream: &mut dyn Stream,
        question: &[u8],
        id: u16,
        watch: &mut Stopwatch,
    ) -> Result<Message, String> {
        watch.enter(Phase::Processing);
        let mut framed = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
        framed.extend_from_slice(question);
        let failed = |e: std::io::Error| format!("no answer: {}", io_words(&e));
        stream.write_all(&framed).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let length = stream.read_u16().await.map_err(failed)?;
        watch.enter(Phase::Transfer);
        let mut bytes = vec![0; length.into()];
        stream
            .read_exact(&mut bytes)
            .await
            .map_err(|e| format!("the answer broke off: {}", io_words(&e)))?;
        self.read(&bytes, id)
    }

    fn read(&self, bytes: &[u8], id: u16) -> Result<Message, String> {
        let answer = Message::from_vec(bytes)
            .map_err(|e| format!("the answer ({} bytes) is no DNS message: {e}", bytes.len()))?;
        let head = &answer.metadata;
        if head.id != id || head.message_type != MessageType::Response {
            return Err("the answer is none to our question".to_owned());
        }
        match answer.queries.first() {
            Some(query) if *query != self.query => {
                Err(format!("the answer is about {query}, asked was {}", self.query))
            }
            _ => Ok(answer),
        }
    }

    fn judge(&self, answer: &Message, watch: &mut Stopwatch) -> Result<String, String> {
        let extra = answer.additionals.len() + usize::from(answer.edns.is_some());
        watch.fact("probe_dns_query_succeeded", 1.0);
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        watch.fact("probe_dns_answer_rrs", count(answer.answers.len()));
        watch.fact("probe_dns_authority_rrs", count(answer.authorities.len()));
        watch.fact("probe_dns_additional_rrs", count(extra));
        if self.query.query_type() == RecordType::SOA {
            let mut serials = answer.answers.iter().filter_map(|record| match &record.data {
                RData::SOA(soa) => Some(f64::from(soa.serial)),
                _ => None,
            });
            watch.fact("probe_dns_serial", serials.next_back().unwrap_or(0.0));
        }
        let rcode = answer.metadata.response_code;
        watch.expose("rcode", code::name(rcode));
        if watch.exposes() {
            let answers: Vec<_> = answer.answers.iter().map(text::record).collect();
            watch.expose("answers", answers);
        }
        let good = if self.good.is_empty() {
            rcode == ResponseCode::NoError
        } else {
            self.good.contains(&rcode)
        };
        if !good {
            let expected: Vec<_> = self.good.iter().map(|good| code::name(*good)).collect();
            let expected =
                if expected.is_empty() { "NOERROR".to_owned() } else { expected.join(", ") };
            return Err(format!("{}, expected {expected}", code::name(rcode)));
        }
        for (rules, records, edns) in [
            (&self.answer, &answer.answers, None),
            (&self.authority, &answer.authorities, None),
            (&self.additional, &answer.additionals, answer.edns.as_ref()),
        ] {
            if !rules.is_empty() {
                let texts = records.iter().map(text::record).chain(edns.map(text::edns));
                rules.judge(&texts.collect::<Vec<_>>())?;
            }
        }
        let cut = if answer.metadata.truncation { ", truncated" } else { "" };
        Ok(format!("{}, {} answers{cut}", code::name(rcode), answer.answers.len()))
    }

    /// Says how long the phases took, as far as it came.
    pub(super) fn conclude(watch: &mut Stopwatch) {
        let phases = watch.phases;
        for (phase, took) in [
            ("resolve", phases.resolve),
            ("connect", phases.connect + phases.tls),
            ("request", phases.processing + phases.transfer),
        ] {
            let labels = [("phase", phase)];
            watch.fact_with("probe_dns_duration_seconds", &labels, took.as_secs_f64());
        }
    }
}

fn query(check: &DnsCheck) -> Result<Query, String> {
    let wrong = |field: &str, value: &str, why: &dyn std::fmt::Display| {
        format!("dns.{field} {value:?}: {why}")
    };
    let mut name = Name::from_ascii(&check.query_name)
        .map_err(|e| wrong("query_name", &check.query_name, &e))?;
    name.set_fqdn(true);
    let kind: RecordType = check
        .query_type
        .parse()
        .map_err(|_| wrong("query_type", &check.query_type, &"give a type such as A or SOA"))?;
    let class: DNSClass = check
        .query_class
        .parse()
        .map_err(|_| wrong("query_class", &check.query_class, &"give IN, CH, HS or ANY"))?;
    let mut query = Query::query(name, kind);
    query.set_query_class(class);
    Ok(query)
}

#[cfg(test)]
mod tests;
