//! The HTTP probe: one request over a connection of its own; redirects are answers like any other.

use std::sync::Arc;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use watchkeep_catalog::{HttpCheck, Scheme};

use super::{Context, Endpoint, Phase, Stopwatch, connect::io_words, words};

/// How much of a body is read.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Who asks.
const AGENT: &str = concat!("watchkeep/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(super) struct HttpProbe {
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// Empty: 200 to 299.
    expected_status: Vec<u16>,
    expected_body: Option<Regex>,
}

impl HttpProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &HttpCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let method = check.method.parse();
        let method = method.map_err(|e| format!("http.method {:?}: {e}", check.method))?;
        let uri = check.path.parse().map_err(|e| format!("http.path {:?}: {e}", check.path))?;
        let expected_body = check.expected_body.as_deref().map(Regex::new).transpose();
        let expected_body = expected_body.map_err(|e| format!("http.expected_body: {e}"))?;
        let headers = headers(endpoint, check)?;
        let tls = match check.scheme {
            Scheme::Http => None,
            Scheme::Https => Some((context.tls.clone(), server_name(endpoint, &headers)?)),
        };
        let expected_status = check.expected_status.clone();
        Ok(Self { tls, method, uri, headers, expected_status, expected_body })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let stream = endpoint.connect(watch).await?;
        let Some((config, name)) = &self.tls else { return self.ask(stream, watch).await };
        watch.enter(Phase::Tls);
        let tls = TlsConnector::from(config.clone()).connect(name.clone(), stream).await;
        let tls = tls.map_err(|e| format!("TLS with {endpoint}: {}", io_words(&e)))?;
        self.ask(tls, watch).await
    }

    async fn ask<S>(&self, stream: S, watch: &mut Stopwatch) -> Result<String, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        watch.enter(Phase::Processing);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("no answer: {}", words(&e)))?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|e| format!("no answer: {}", words(&e)))?;
            watch.enter(Phase::Transfer);
            self.judge(answer).await
        };
        tokio::pin!(exchange);
        // The connection does the work; when it ends first, the exchange has all it will ever get.
        tokio::select! {
            biased;
            result = &mut exchange => result,
            _ended = connection => exchange.await,
        }
    }

    async fn judge(&self, answer: ::http::Response<Incoming>) -> Result<String, String> {
        let (head, body) = answer.into_parts();
        self.judge_status(head.status)?;
        let body = read(body).await?;
        match &self.expected_body {
            Some(pattern) if !pattern.is_match(&body) => Err(format!(
                "status {}, but the body ({} bytes) does not match {:?}",
                head.status.as_u16(),
                body.len(),
                pattern.as_str()
            )),
            _ => Ok(format!("status {}", head.status.as_u16())),
        }
    }

    fn judge_status(&self, status: StatusCode) -> Result<(), String> {
        let status = status.as_u16();
        if self.expected_status.is_empty() {
            return if (200..300).contains(&status) {
                Ok(())
            } else {
                Err(format!("status {status}, expected 200-299"))
            };
        }
        if self.expected_status.contains(&status) {
            return Ok(());
        }
        let expected: Vec<_> = self.expected_status.iter().map(u16::to_string).collect();
        Err(format!("status {status}, expected {}", expected.join(", ")))
    }
}

/// The body's first MiB.
async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("the answer broke off: {}", words(&e)))?;
        if let Some(data) = frame.data_ref() {
            let room = BODY_BYTES_MAX - whole.len();
            whole.extend_from_slice(&data[..data.len().min(room)]);
        }
        if whole.len() >= BODY_BYTES_MAX {
            break;
        }
    }
    Ok(whole)
}

fn headers(endpoint: &Endpoint, check: &HttpCheck) -> Result<HeaderMap, String> {
    let default_port = match check.scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let mut host = endpoint.to_string();
    if endpoint.port == default_port {
        host.truncate(host.len() - format!(":{default_port}").len());
    }
    let value = |name: &str, value: &str| {
        HeaderValue::from_str(value)
            .map_err(|_| format!("http.headers.{name}: {value:?} is not allowed"))
    };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value("host", &host)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, text) in &check.headers {
        let known: HeaderName =
            name.parse().map_err(|_| format!("http.headers: {name:?} is not a header's name"))?;
        headers.insert(known, value(name, text)?);
    }
    Ok(headers)
}

/// Whose certificate is expected: the `host` header's, if one is configured, so that an instance may be
/// asked by its address under the name of its service.
fn server_name(endpoint: &Endpoint, headers: &HeaderMap) -> Result<ServerName<'static>, String> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named = host.parse::<::http::uri::Authority>().ok();
    let name = named.as_ref().map_or(endpoint.address.as_str(), |authority| authority.host());
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} cannot have a certificate"))
}
