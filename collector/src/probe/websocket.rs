//! The WebSocket probe (RFC 6455): the handshake, then, if the check says so, a message each way.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use regex::bytes::Regex;
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand::{SecureRandom, SystemRandom},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use watchkeep_catalog::{HttpCheck, WebSocketCheck, WebSocketScheme};

use super::{
    Context, Endpoint, Phase, Stopwatch,
    connect::io_words,
    http::{AGENT, auth::Auth, connection::Stream, place::Place},
    tls::Tls,
};

mod frame;

/// Longest head of the server's answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[derive(Debug)]
pub(super) struct WebSocketProbe {
    place: Place,
    headers: HeaderMap,
    tls: Option<Tls>,
    auth: Auth,
    protocols: Vec<String>,
    send: Option<String>,
    expect: Option<Regex>,
}

impl WebSocketProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &WebSocketCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let place = Place {
            tls: check.scheme == WebSocketScheme::Wss,
            host: endpoint.address.clone(),
            port: endpoint.port,
            path: check.path.clone(),
        };
        let mut headers = HeaderMap::new();
        let value = |name: &str, text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| format!("websocket.headers.{name}: {text:?} is not allowed"))
        };
        headers.insert(header::HOST, value("host", &place.authority())?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, text) in &check.headers {
            let known: HeaderName = name
                .parse()
                .map_err(|_| format!("websocket.headers: {name:?} is not a header's name"))?;
            headers.insert(known, value(name, text)?);
        }
        if !check.protocols.is_empty() {
            let protocols = value("protocols", &check.protocols.join(", "))?;
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.and_then(|host| host.parse::<::http::uri::Authority>().ok());
        let name = host.as_ref().map_or(endpoint.address.as_str(), |host| host.host());
        let tls = place.tls.then(|| context.tls(&check.tls, &["http/1.1"], name)).transpose()?;
        // Who asks is told as over HTTP.
        let who = HttpCheck {
            basic_auth: check.basic_auth.clone(),
            authorization: check.authorization.clone(),
            ..HttpCheck::default()
        };
        Ok(Self {
            auth: Auth::new(&who, context)?,
            expect: expect(check)?,
            protocols: check.protocols.clone(),
            send: check.send.clone(),
            place,
            headers,
            tls,
        })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        watch.fact("probe_http_status_code", 0.0);
        watch.tell_phases_as("probe_http_duration_seconds");
        let auth = self.auth.value(endpoint, watch).await?;
        let stream = endpoint.connect(watch).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(stream, endpoint, watch).await?),
        };
        let mut stream = BufReader::new(stream);
        watch.enter(Phase::Processing);
        let key = self.ask(&mut stream, auth).await.map_err(|e| format!("no answer: {e}"))?;
        let head = read_head(&mut stream).await.map_err(|e| format!("no answer: {e}"))?;
        self.judge(&head, &key, watch)?;
        watch.enter(Phase::Transfer);
        let said = self.talk(&mut stream, watch).await?;
        // It need not be heard: the probe is over.
        let _ =
            frame::write(stream.get_mut(), frame::CLOSE, &1000_u16.to_be_bytes(), mask()?).await;
        Ok(said)
    }

    /// Sends the handshake; the answer is the key that it names.
    async fn ask(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        auth: Option<HeaderValue>,
    ) -> Result<String, String> {
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "no random numbers".to_owned())?;
        let key = STANDARD.encode(nonce);
        let mut head = format!("GET {} HTTP/1.1\r\n", self.place.path).into_bytes();
        let mut say = |name: &str, value: &[u8]| {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        for (name, value) in &self.headers {
            say(name.as_str(), value.as_bytes());
        }
        if let Some(auth) = auth {
            say("authorization", auth.as_bytes());
        }
        say("connection", b"Upgrade");
        say("upgrade", b"websocket");
        say("sec-websocket-version", b"13");
        say("sec-websocket-key", key.as_bytes());
        head.extend_from_slice(b"\r\n");
        let sent = async {
            stream.write_all(&head).await?;
            stream.flush().await
        };
        sent.await.map_err(|e| io_words(&e))?;
        Ok(key)
    }

    fn judge(&self, head: &str, key: &str, watch: &mut Stopwatch) -> Result<(), String> {
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status: Option<u16> = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("no answer: {first:?} is no HTTP"))?;
        watch.fact("probe_http_status_code", f64::from(status));
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
            .collect();
        if watch.exposes() {
            watch.expose("status", status);
            let headers = headers.iter().map(|(name, value)| (name.clone(), (*value).into()));
            watch.expose("headers", headers.collect::<serde_json::Map<_, _>>());
        }
        if status != 101 {
            return Err(format!("status {status}, expected 101"));
        }
        let get = |wanted: &str| {
            headers.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| *value)
        };
        let expected = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
        if get("sec-websocket-accept") != STANDARD.encode(expected.as_ref()) {
            return Err("status 101, but its sec-websocket-accept does not fit our key".to_owned());
        }
        let chosen = get("sec-websocket-protocol");
        if !self.protocols.is_empty() && !self.protocols.iter().any(|p| p == chosen) {
            let offered = self.protocols.join(", ");
            return Err(format!("status 101, but it speaks {chosen:?}, expected one of {offered}"));
        }
        Ok(())
    }

    async fn talk(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        if let Some(text) = &self.send {
            let sent = frame::write(stream.get_mut(), frame::TEXT, text.as_bytes(), mask()?).await;
            sent.map_err(|e| format!("send: {}", io_words(&e)))?;
        }
        let Some(expect) = &self.expect else {
            return Ok("status 101".to_owned());
        };
        for _ in 0..frame::MESSAGES_MAX {
            let message = frame::read_message(stream, mask).await?;
            if expect.is_match(&message) {
                if watch.exposes() {
                    watch.expose("message", String::from_utf8_lossy(&message).into_owned());
                }
                return Ok(format!("status 101, message of {} bytes", message.len()));
            }
            watch.note(|| format!("a message of {} bytes does not match", message.len()));
        }
        let (most, expect) = (frame::MESSAGES_MAX, expect.as_str());
        Err(format!("none of the first {most} messages matches {expect:?}"))
    }
}

/// Whether its regular expression can be read.
pub(super) fn judge(check: &WebSocketCheck) -> Result<(), String> {
    expect(check).map(drop)
}

fn expect(check: &WebSocketCheck) -> Result<Option<Regex>, String> {
    let expect = check.expect.as_deref().map(Regex::new).transpose();
    expect.map_err(|e| format!("websocket.expect: {e}"))
}

/// Every frame of a client is masked, each with other bytes (§5.3).
fn mask() -> Result<[u8; 4], String> {
    let mut mask = [0; 4];
    SystemRandom::new().fill(&mut mask).map_err(|_| "no random numbers".to_owned())?;
    Ok(mask)
}

async fn read_head(stream: &mut BufReader<Box<dyn Stream>>) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(format!("its head has more than {HEAD_BYTES_MAX} bytes"));
        }
        head.push(stream.read_u8().await.map_err(|e| io_words(&e))?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests;
