//! The way to a place: directly, over a Unix socket, or through a proxy; and TLS on top.

use std::{path::PathBuf, sync::Arc};

use ::http::{HeaderValue, header::PROXY_AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use watchkeep_catalog::{HttpVersion, Proxy, TlsSettings};

use super::{
    connection::{Connection, Plain, Stream},
    place::Place,
};
use crate::probe::{
    Context, Endpoint, Phase, Stopwatch,
    connect::io_words,
    files::SecretText,
    tls::{Shown, Tls},
    unix,
};

/// Longest answer to `CONNECT`.
const CONNECT_BYTES_MAX: usize = 8 << 10;

/// How places are reached.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) context: Arc<Context>,
    pub(crate) tls: TlsSettings,
    pub(crate) version: HttpVersion,
    pub(crate) proxy: Option<Box<Via>>,
    pub(crate) unix_socket: Option<PathBuf>,
}

/// A proxy made ready.
#[derive(Debug)]
pub(crate) struct Via {
    place: Place,
    user: Option<(String, Option<SecretText>)>,
    headers: Vec<(String, String)>,
    no_proxy: Vec<String>,
    pub(crate) resolves: bool,
}

/// A connection and what is known of it.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    pub(crate) shown: Option<Arc<Shown>>,
    /// Plain requests name the whole URL.
    pub(crate) through_proxy: bool,
    pub(crate) peer: Option<std::net::SocketAddr>,
}

impl Via {
    pub(crate) fn new(field: &str, proxy: &Proxy, context: &Context) -> Result<Self, String> {
        let place = Place::parse(&proxy.url).map_err(|e| format!("{field}.url: {e}"))?;
        let password = proxy.password.as_ref();
        let password =
            password.map(|secret| context.files.secret(&format!("{field}.password"), secret));
        let password = password.transpose()?;
        for (name, value) in &proxy.connect_headers {
            let is_good = name.parse::<::http::HeaderName>().is_ok();
            if !is_good || HeaderValue::from_str(value).is_err() {
                return Err(format!("{field}.connect_headers: {name:?} is not allowed"));
            }
        }
        Ok(Self {
            place,
            user: proxy.username.clone().map(|user| (user, password)),
            headers: proxy.connect_headers.clone().into_iter().collect(),
            no_proxy: proxy.no_proxy.clone(),
            resolves: proxy.resolves,
        })
    }

    /// Whether `host` is asked through it.
    fn is_for(&self, host: &str) -> bool {
        !self.no_proxy.iter().any(|no| {
            let no = no.trim_start_matches('.');
            no == "*"
                || host.eq_ignore_ascii_case(no)
                || host.to_ascii_lowercase().ends_with(&format!(".{}", no.to_ascii_lowercase()))
        })
    }

    /// The value of `proxy-authorization`.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.user.as_ref()?;
        let password = password.as_ref().map(SecretText::text).unwrap_or_default();
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A tunnel to `place` at `address`.
    async fn tunnel(
        &self,
        endpoint: &Endpoint,
        address: &str,
        place: &Place,
        watch: &mut Stopwatch,
    ) -> Result<TcpStream, String> {
        let mut stream = self.connect(endpoint, watch).await?;
        let mut head =
            format!("CONNECT {address} HTTP/1.1\r\nhost: {}:{}\r\n", place.bracketed(), place.port);
        if let Some(value) = self.authorization() {
            let value = value.to_str().unwrap_or_default();
            head.push_str(&format!("{PROXY_AUTHORIZATION}: {value}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let failed = |what: &str| format!("proxy {}: {what}", self.place.authority());
        stream.write_all(head.as_bytes()).await.map_err(|e| failed(&io_words(&e)))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= CONNECT_BYTES_MAX {
                return Err(failed("its answer to CONNECT has no end"));
            }
            answer.push(stream.read_u8().await.map_err(|e| failed(&io_words(&e)))?);
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        if line.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            watch.turn_to(&endpoint.address, endpoint.to_string());
            return Ok(stream);
        }
        Err(failed(&format!("CONNECT {address}: {line}")))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<TcpStream, String> {
        let (address, port) = (self.place.host.clone(), self.place.port);
        let proxy = Endpoint { address, port, ..endpoint.clone() };
        watch.turn_to(&proxy.address, format!("proxy {proxy}"));
        proxy.connect(watch).await.map_err(|e| format!("proxy: {e}"))
    }
}

impl Route {
    /// TLS with the server of a place, whose certificate is for `name`.
    pub(crate) fn tls(&self, name: &str) -> Result<Tls, String> {
        self.context.tls(&self.tls, self.alpn(), name)
    }

    /// TLS with the server of a place that a redirect leads to: the configured name is not for it.
    pub(crate) fn tls_elsewhere(&self, host: &str) -> Result<Tls, String> {
        let settings = TlsSettings { server_name: None, ..self.tls.clone() };
        self.context.tls(&settings, self.alpn(), host)
    }

    fn alpn(&self) -> &'static [&'static str] {
        match self.version {
            HttpVersion::Auto => &["h2", "http/1.1"],
            HttpVersion::Http1 => &["http/1.1"],
            HttpVersion::Http2 => &["h2"],
        }
    }

    /// Connects to `place`, which is found at `endpoint`.
    pub(crate) async fn reach(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        tls: Option<&Tls>,
        watch: &mut Stopwatch,
    ) -> Result<Reached, String> {
        let via = self.proxy.as_ref().filter(|via| via.is_for(&place.host));
        let mut through_proxy = false;
        let mut peer = None;
        let stream: Box<dyn Stream> = match (&self.unix_socket, via) {
            (Some(path), _) => Box::new(Plain(unix::connect(path, watch).await?)),
            (None, None) => {
                let stream = endpoint.connect(watch).await?;
                // Only the next probe over this connection asks for it.
                peer = if endpoint.reuse { stream.peer_addr().ok() } else { None };
                Box::new(Plain(stream))
            }
            (None, Some(via)) => {
                // Also judges whether the target may be asked at all.
                let address = if via.resolves && place.host.parse::<std::net::IpAddr>().is_err() {
                    format!("{}:{}", place.bracketed(), place.port)
                } else {
                    endpoint
                        .resolve(watch)
                        .await?
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default()
                };
                if tls.is_some() {
                    let tunnel = Box::pin(via.tunnel(endpoint, &address, place, watch));
                    Box::new(Plain(tunnel.await?))
                } else {
                    through_proxy = true;
                    Box::new(Plain(Box::pin(via.connect(endpoint, watch)).await?))
                }
            }
        };
        let mut shown = None;
        let mut is_two = self.version == HttpVersion::Http2;
        let stream: Box<dyn Stream> = match tls {
            None => stream,
            Some(tls) => {
                let stream = Box::pin(tls.connect(stream, endpoint, watch)).await?;
                let connection = stream.get_ref().1;
                shown = tls.shown(connection);
                match (self.version, connection.alpn_protocol() == Some(b"h2")) {
                    (HttpVersion::Http2, false) => {
                        return Err(format!("TLS with {endpoint}: it does not speak HTTP/2"));
                    }
                    (_, chosen) => is_two = chosen,
                }
                Box::new(stream)
            }
        };
        watch.enter(Phase::Processing);
        let connection = Connection::begin(stream, is_two).await?;
        Ok(Reached { connection, shown, through_proxy, peer })
    }
}
