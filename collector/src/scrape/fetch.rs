//! Fetches a page: one GET, gzip, a largest size and a deadline. Redirects are not followed.

use std::{io::Read, sync::Arc, time::Duration};

use flate2::read::MultiGzDecoder;
use http::{
    HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};
use watchkeep_catalog::access::Credentials;

use super::config::Job;
use crate::{
    access::HttpClient,
    exposition::{self, Format},
    probe::{Policy, tls},
};

/// Connections to one target that wait for their next use.
pub(super) const CONNECTIONS_IDLE_MAX: usize = 1;
/// Who asks.
const AGENT: &str = concat!("watchkeep/", env!("CARGO_PKG_VERSION"));

/// A page as it came, decompressed.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) format: Format,
    pub(crate) bytes: Vec<u8>,
}

/// Fetches the pages of one job.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: HttpClient,
    credentials: Credentials,
    bytes_max: usize,
    policy: Arc<Policy>,
}

impl Fetcher {
    pub(super) fn new(
        tls: Arc<tls::Client>,
        credentials: Credentials,
        bytes_max: usize,
        policy: Arc<Policy>,
    ) -> Result<Self, reqwest::Error> {
        let judged = Arc::new(Judged(policy.clone()));
        let build = move |tls| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .user_agent(AGENT)
                .dns_resolver(judged.clone())
                .pool_max_idle_per_host(Job::IDLE_MAX)
                .pool_idle_timeout(Job::IDLE)
                .build()
        };
        Ok(Self { client: HttpClient::new(tls, build)?, credentials, bytes_max, policy })
    }

    /// The page at `url`.
    ///
    /// # Errors
    /// In words.
    pub(crate) async fn fetch(&self, url: &str, timeout: Duration) -> Result<Body, String> {
        let url = Url::parse(url).map_err(|e| e.to_string())?;
        match url.host() {
            Some(Host::Ipv4(ip)) => self.policy.judge(ip.into())?,
            Some(Host::Ipv6(ip)) => self.policy.judge(ip.into())?,
            _ => {}
        }
        let seconds = timeout.as_secs_f64().to_string();
        let mut request = self
            .client
            .current()
            .get(url)
            .timeout(timeout)
            .header(ACCEPT, exposition::ACCEPT)
            .header(ACCEPT_ENCODING, "gzip")
            .header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
        if let Some(secret) = self.credentials.header() {
            request = request.header(AUTHORIZATION, secret);
        }
        let mut answer = request.send().await.map_err(|e| words(&e, timeout))?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("status {}, expected 200", answer.status().as_u16()));
        }
        let header = |name| answer.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let format = Format::of(header(CONTENT_TYPE));
        let gzip = match header(CONTENT_ENCODING) {
            None | Some("" | "identity") => false,
            Some("gzip") => true,
            Some(other) => {
                return Err(format!("Content-Encoding {other:?}, only gzip was asked for"));
            }
        };
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| words(&e, timeout))? {
            if bytes.len() + part.len() > self.bytes_max {
                return Err(self.too_large());
            }
            bytes.extend_from_slice(&part);
        }
        if gzip {
            bytes = self.inflate(&bytes)?;
        }
        Ok(Body { format, bytes })
    }

    fn inflate(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let limit = self.bytes_max as u64 + 1;
        let read = MultiGzDecoder::new(packed).take(limit).read_to_end(&mut bytes);
        read.map_err(|e| format!("the page is not gzip: {e}"))?;
        if bytes.len() > self.bytes_max { Err(self.too_large()) } else { Ok(bytes) }
    }

    fn too_large(&self) -> String {
        format!("the page has more than {} bytes (body_size_limit_bytes)", self.bytes_max)
    }
}

/// Resolves names as the system does, and lets no denied address through.
#[derive(Debug)]
struct Judged(Arc<Policy>);

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = policy.resolver.lookup(name.as_str(), 0).await?;
            for address in &found {
                policy.judge(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An error and its causes in one line, without the URL: a query may hold secrets.
pub(crate) fn words(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no whole answer within {} ms", timeout.as_millis());
    }
    std::error::Error::source(error)
        .map_or_else(|| "the request failed".to_owned(), watchkeep_catalog::causes)
}

#[cfg(test)]
mod tests;
