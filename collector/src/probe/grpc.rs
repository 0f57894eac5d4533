//! The gRPC probe: `grpc.health.v1.Health/Check`, over HTTP/2 as it is; a whole gRPC client would cost more than the
//! call. Over a connection of its own, unless the check asks for reuse: then it is kept for the next probe.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use watchkeep_catalog::GrpcCheck;

use super::{
    Context, Endpoint, Phase, Stopwatch,
    connect::tell,
    http::connection::{Connection, IsTls, Stream},
    tls::Tls,
    words,
};

mod message;

/// What can be served, and in which words.
const SERVING_STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Who asks.
const AGENT: &str = concat!("watchkeep/", env!("CARGO_PKG_VERSION"));

/// gRPC's status of an answer that has none: it did not come from a gRPC server.
const UNKNOWN: i32 = 2;
const UNAVAILABLE: i32 = 14;

#[derive(Debug)]
pub(super) struct GrpcProbe {
    tls: Option<Tls>,
    authority: HeaderValue,
    /// A whole message of gRPC, with its length before it.
    question: Bytes,
    service: String,
    /// The connection of the last probe.
    kept: Mutex<Option<Kept>>,
}

/// A connection and where it leads.
#[derive(Debug)]
struct Kept {
    connection: Connection,
    peer: Option<SocketAddr>,
}

/// What a server answered.
struct Answer {
    /// gRPC's status.
    code: i32,
    message: String,
    /// By name, if the call went well.
    serving: Option<&'static str>,
}

impl GrpcProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &GrpcCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let tls = check.tls.as_ref();
        let tls = tls.map(|tls| context.tls(tls, &["h2"], &endpoint.address)).transpose()?;
        let authority = HeaderValue::try_from(endpoint.to_string());
        let authority = authority.map_err(|e| format!("address {endpoint}: {e}"))?;
        let question = message::question(&check.service);
        let service = check.service.clone();
        Ok(Self { tls, authority, question, service, kept: Mutex::default() })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        watch.fact("probe_grpc_ssl", 0.0);
        watch.fact("probe_grpc_status_code", f64::from(UNAVAILABLE));
        let answer = self.ask_somehow(endpoint, watch).await?;
        self.judge(&answer, watch)
    }

    /// Over the connection of the last probe, or over a new one.
    async fn ask_somehow(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<Answer, String> {
        let ssl = f64::from(u8::from(self.tls.is_some()));
        let kept = self.kept().take();
        if let Some(mut kept) = kept {
            watch.enter(Phase::Processing);
            // One that was closed meanwhile says nothing about the server.
            if kept.connection.is_alive().await
                && let Ok(answer) = self.ask(&mut kept.connection, watch).await
            {
                watch.note(|| "over the connection of the last probe".to_owned());
                watch.fact("probe_grpc_ssl", ssl);
                if let Some(peer) = kept.peer {
                    tell(peer, watch);
                }
                *self.kept() = Some(kept);
                return Ok(answer);
            }
            watch.enter(Phase::Resolve);
        }
        let stream = endpoint.connect(watch).await?;
        let peer = stream.peer_addr().ok();
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(stream, endpoint, watch).await?),
        };
        watch.fact("probe_grpc_ssl", ssl);
        watch.enter(Phase::Processing);
        let mut connection = Connection::begin(stream, true).await?;
        let answer = self.ask(&mut connection, watch).await?;
        if endpoint.reuse {
            *self.kept() = Some(Kept { connection, peer });
        }
        Ok(answer)
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        watch: &mut Stopwatch,
    ) -> Result<Answer, String> {
        let mut request = Request::post("/grpc.health.v1.Health/Check")
            .header(HOST, self.authority.clone())
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .header("user-agent", AGENT)
            .body(Full::new(self.question.clone()))
            .map_err(|e| e.to_string())?;
        if self.tls.is_some() {
            request.extensions_mut().insert(IsTls);
        }
        let answer = connection.send(request).await?;
        watch.enter(Phase::Transfer);
        connection.work(read(answer)).await
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, answer: &Answer, watch: &mut Stopwatch) -> Result<String, String> {
        watch.fact("probe_grpc_status_code", answer.code.into());
        watch.expose("grpc_status", answer.code);
        for status in SERVING_STATUS {
            let is = answer.serving == Some(status);
            let labels = [("serving_status", status)];
            watch.fact_with("probe_grpc_healthcheck_response", &labels, f64::from(u8::from(is)));
        }
        let about = match self.service.as_str() {
            "" => "the server".to_owned(),
            service => format!("service {service:?}"),
        };
        match answer.serving {
            Some("SERVING") => Ok(format!("{about} is SERVING")),
            Some(status) => Err(format!("{about} is {status}")),
            None => Err(format!(
                "{about}: gRPC status {}{}",
                answer.code,
                if answer.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", answer.message)
                }
            )),
        }
    }

    /// Says how long the phases took, as far as it came.
    pub(super) fn conclude(watch: &mut Stopwatch) {
        let phases = watch.phases;
        let check = phases.connect + phases.tls + phases.processing + phases.transfer;
        for (phase, took) in [("resolve", phases.resolve), ("check", check)] {
            let labels = [("phase", phase)];
            watch.fact_with("probe_grpc_duration_seconds", &labels, took.as_secs_f64());
        }
    }
}

async fn read(answer: ::http::Response<Incoming>) -> Result<Answer, String> {
    let (head, mut body) = answer.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if head.status != StatusCode::OK || !kind.unwrap_or_default().starts_with("application/grpc") {
        let (status, kind) = (head.status.as_u16(), kind.unwrap_or("none"));
        return Err(format!("no gRPC server: HTTP status {status}, content type {kind}"));
    }
    let (mut bytes, mut trailers) = (Vec::new(), head.headers);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("the answer broke off: {}", words(&e)))?;
        match frame.into_data() {
            Ok(data) if bytes.len() + data.len() > ANSWER_BYTES_MAX => {
                return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(last) = frame.into_trailers() {
                    trailers = last;
                }
            }
        }
    }
    let (code, message) = status(&trailers);
    let serving = if code == 0 { Some(serving(&bytes)?) } else { None };
    Ok(Answer { code, message, serving })
}

fn serving(bytes: &[u8]) -> Result<&'static str, String> {
    let number = message::answer(bytes)?;
    let known = usize::try_from(number).ok().and_then(|at| SERVING_STATUS.get(at));
    known.copied().ok_or_else(|| format!("its health is {number}, which health.v1 does not have"))
}

/// gRPC's status and message, from trailers or, when there was no answer at all, from the head.
fn status(headers: &HeaderMap) -> (i32, String) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    (text("grpc-status").parse().unwrap_or(UNKNOWN), message::decoded(text("grpc-message")))
}

#[cfg(test)]
mod tests;
