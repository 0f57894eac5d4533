//! One HTTP request to a receiver, as its `http_config` says.

use std::{collections::HashMap, time::Duration};

use reqwest::{
    Certificate, Client, Identity, Method, NoProxy, Proxy, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
    redirect::Policy,
    tls::Version,
};
use serde::Serialize;

use super::{ATTEMPT_TIMEOUT, DELIVERIES_MAX, Failure, oauth2::Tokens};
use crate::{
    alertmanager::config::{Hidden, HttpConfig, TlsConfig},
    config::Secret,
    post, text,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections kept to one host: as many as an integration has deliveries at once, else a storm opens them anew.
const IDLE_PER_HOST_MAX: usize = DELIVERIES_MAX;
const REDIRECTS_MAX: usize = 10;
/// As much of a refusal's body is quoted, in characters.
pub(super) const QUOTE_MAX: usize = 200;
/// As much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A secret from the file, or from the configuration. Read each time, so that a new one counts at once.
///
/// # Errors
/// When there is none, or the file cannot be read.
pub(super) fn secret(given: Option<&Hidden>, file: Option<&String>) -> Result<String, Failure> {
    match (given, file) {
        (Some(secret), _) => Ok(secret.0.clone()),
        (None, Some(file)) => {
            let secret = Secret::read(file).map_err(Failure::Again)?;
            Ok(secret.text().map_err(Failure::Never)?.to_owned())
        }
        (None, None) => Err(Failure::Never("a secret is missing in the configuration".to_owned())),
    }
}

/// Clients by their settings: receivers with the same settings share connections.
#[derive(Default)]
pub(super) struct Links(HashMap<String, Client>);

impl Links {
    pub(super) fn get(&mut self, config: Option<&HttpConfig>) -> Result<Link, String> {
        let config = config.cloned().unwrap_or_default();
        // What is secret is not in the client, but in each request.
        let key =
            format!("{:?} {:?} {}", config.proxy_url, config.tls_config, config.follow_redirects);
        let key = format!("{key} {} {:?}", config.enable_http2, config.no_proxy);
        let client = match self.0.get(&key) {
            Some(client) => client.clone(),
            None => client(&config)?,
        };
        self.0.insert(key, client.clone());
        let tokens = match &config.oauth2 {
            Some(oauth2) => {
                let (tls_config, proxy_url) = (oauth2.tls_config.clone(), oauth2.proxy_url.clone());
                let asked = HttpConfig { tls_config, proxy_url, ..HttpConfig::default() };
                Some(Tokens::new(self.get(Some(&asked))?.client, oauth2.clone()))
            }
            None => None,
        };
        Ok(Link { client, config, tokens })
    }
}

fn client(config: &HttpConfig) -> Result<Client, String> {
    let redirects = match config.follow_redirects {
        true => Policy::limited(REDIRECTS_MAX),
        false => Policy::none(),
    };
    let mut builder = Client::builder()
        .user_agent(concat!("watchkeep/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .redirect(redirects)
        .tcp_nodelay(true);
    builder = match &config.proxy_url {
        Some(url) => {
            let around = config.no_proxy.as_deref().and_then(NoProxy::from_string);
            builder
                .proxy(Proxy::all(url).map_err(|e| watchkeep_catalog::causes(&e))?.no_proxy(around))
        }
        None => builder.no_proxy(),
    };
    if !config.enable_http2 {
        builder = builder.http1_only();
    }
    if let Some(tls) = &config.tls_config {
        builder = with_tls(builder, tls)?;
    }
    builder.build().map_err(|e| watchkeep_catalog::causes(&e))
}

fn with_tls(
    mut builder: reqwest::ClientBuilder,
    tls: &TlsConfig,
) -> Result<reqwest::ClientBuilder, String> {
    let read = |file: &str| std::fs::read(file).map_err(|e| format!("cannot read {file}: {e}"));
    if let Some(file) = &tls.ca_file {
        let certificates = Certificate::from_pem_bundle(&read(file)?);
        builder = builder.tls_certs_only(
            certificates.map_err(|e| format!("{file}: {}", watchkeep_catalog::causes(&e)))?,
        );
    }
    if let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) {
        let pem = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
        let identity = Identity::from_pem(&pem);
        builder = builder
            .identity(identity.map_err(|e| format!("{cert}: {}", watchkeep_catalog::causes(&e)))?);
    }
    if tls.min_version.as_deref() == Some("TLS13") {
        builder = builder.tls_version_min(Version::TLS_1_3);
    }
    if tls.max_version.as_deref() == Some("TLS12") {
        builder = builder.tls_version_max(Version::TLS_1_2);
    }
    Ok(builder.tls_danger_accept_invalid_certs(tls.insecure_skip_verify))
}

/// The way to one receiver.
pub(super) struct Link {
    client: Client,
    config: HttpConfig,
    tokens: Option<Tokens>,
}

/// As much of an answer as is of use.
pub(super) async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body
}

/// For how long Telegram asks to be left alone: it says so in the body, and has no `Retry-After`.
fn asked_in_body(status: StatusCode, body: &[u8]) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let said: serde_json::Value = serde_json::from_slice(body).ok()?;
    said["parameters"]["retry_after"].as_u64().map(Duration::from_secs)
}

/// What an answer that is no success means: whether, and when, the same may succeed.
fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8], error: String) -> Failure {
    let asked = post::asked_to_wait(status, headers).or_else(|| asked_in_body(status, body));
    match (status, asked) {
        (_, Some(pause)) => Failure::After(error, pause),
        (StatusCode::TOO_MANY_REQUESTS, None) => Failure::Again(error),
        _ if status.is_server_error() => Failure::Again(error),
        _ => Failure::Never(error),
    }
}

impl Link {
    /// Posts JSON; answers with the body.
    pub(super) async fn post(
        &self,
        url: &str,
        key: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Never(e.to_string()))?;
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        self.send(request, key, timeout).await
    }

    /// The same with a header of its own, and by another method.
    pub(super) async fn send_with(
        &self,
        method: Method,
        (url, name, value): (&str, &'static str, &str),
        key: &str,
        body: &impl Serialize,
    ) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Never(e.to_string()))?;
        let request = self.client.request(method, url).header(CONTENT_TYPE, "application/json");
        let request = request.body(body).header(name, value);
        self.send(request, key, ATTEMPT_TIMEOUT).await
    }

    async fn send(
        &self,
        request: RequestBuilder,
        key: &str,
        timeout: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let token = match &self.tokens {
            Some(tokens) => Some(tokens.get().await?),
            None => None,
        };
        let mut request = self.authorize(request)?;
        if let Some(token) = &token {
            request = request.bearer_auth(token);
        }
        // Both names mean the same: the one is a draft of the IETF, the other that of Standard Webhooks.
        let request = request.header("Idempotency-Key", key).header("webhook-id", key);
        let response = request.timeout(timeout).send().await;
        let response = response.map_err(|e| {
            // Without the URL, which may be secret.
            Failure::Again(watchkeep_catalog::causes(&e.without_url()))
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response).await;
        if status.is_success() {
            return Ok(body);
        }
        let said = text::shorten(&String::from_utf8_lossy(&body), QUOTE_MAX);
        let error = format!("answered {status}: {said}");
        if let (Some(tokens), Some(token), 401) = (&self.tokens, &token, status.as_u16()) {
            // It may have been called back: another one may do.
            tokens.forget(token).await;
            return Err(Failure::Again(error));
        }
        Err(failure(status, &headers, &body, error))
    }

    fn authorize(&self, mut request: RequestBuilder) -> Result<RequestBuilder, Failure> {
        let config = &self.config;
        if let Some(auth) = &config.basic_auth {
            let password = match (&auth.password, &auth.password_file) {
                (None, None) => None,
                (given, file) => Some(secret(given.as_ref(), file.as_ref())?),
            };
            let user = match &auth.username_file {
                Some(file) => secret(None, Some(file))?,
                None => auth.username.clone(),
            };
            request = request.basic_auth(user, password);
        }
        if let Some(auth) = &config.authorization {
            let credentials = secret(auth.credentials.as_ref(), auth.credentials_file.as_ref())?;
            request =
                request.header("Authorization", format!("{} {credentials}", auth.kind.trim()));
        }
        if config.bearer_token.is_some() || config.bearer_token_file.is_some() {
            let token = secret(config.bearer_token.as_ref(), config.bearer_token_file.as_ref())?;
            request = request.bearer_auth(token);
        }
        for (name, header) in &config.http_headers {
            let mut values = header.values.clone();
            values.extend(header.secrets.iter().map(|secret| secret.0.clone()));
            for file in &header.files {
                values.push(secret(None, Some(file))?);
            }
            for value in values {
                request = request.header(name, value);
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, RETRY_AFTER};

    use super::*;

    #[test]
    fn whoever_asks_to_wait_is_waited_for() {
        let answer = |status, asked: Option<&'static str>| {
            let asked = asked.map(|text| (RETRY_AFTER, HeaderValue::from_static(text)));
            let status = StatusCode::from_u16(status).unwrap();
            failure(status, &asked.into_iter().collect(), b"", String::new())
        };
        let after = |seconds| Failure::After(String::new(), Duration::from_secs(seconds));
        for (status, asked, expected) in [
            (429, Some("7"), after(7)),
            (503, Some(" 60 "), after(60)),
            (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), Failure::Again(String::new())),
            (429, None, Failure::Again(String::new())),
            (500, Some("7"), Failure::Again(String::new())),
            (404, Some("7"), Failure::Never(String::new())),
        ] {
            assert_eq!(answer(status, asked), expected, "{status} {asked:?}");
        }
        let body = br#"{"ok":false,"error_code":429,"parameters":{"retry_after":9}}"#;
        let telegram = |status, body| failure(status, &HeaderMap::new(), body, String::new());
        assert_eq!(telegram(StatusCode::TOO_MANY_REQUESTS, &body[..]), after(9));
        assert_eq!(telegram(StatusCode::TOO_MANY_REQUESTS, b"busy"), Failure::Again(String::new()));
        assert_eq!(telegram(StatusCode::BAD_REQUEST, &body[..]), Failure::Never(String::new()));
    }
}
