//! The HTTP API of a node, as the commands use it.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::registry::Tls;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Holds the password of `--http-user`.
const PASSWORD: &str = "WATCHKEEP_HTTP_PASSWORD";

/// Which node is asked, and by whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Node {
    #[command(flatten)]
    listener: Listener,
    #[command(flatten)]
    tls: Tls,
}

/// A node's HTTP listener, and who asks there.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listener {
    /// A node's HTTP listener
    #[arg(
        long,
        value_name = "URL",
        env = "WATCHKEEP_HTTP",
        default_value = "http://127.0.0.1:8480"
    )]
    http: String,
    #[command(flatten)]
    user: HttpUser,
}

/// Who asks at an HTTP listener.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HttpUser {
    /// A user of the node's web configuration; the password is in --http-password-file or $WATCHKEEP_HTTP_PASSWORD
    #[arg(long, value_name = "NAME", env = "WATCHKEEP_HTTP_USER")]
    http_user: Option<String>,
    /// With --http-user: a file that holds the password
    #[arg(long, value_name = "FILE", requires = "http_user", env = "WATCHKEEP_HTTP_PASSWORD_FILE")]
    http_password_file: Option<PathBuf>,
}

impl Node {
    /// Its API.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        self.listener.api(&self.tls)
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> &str {
        &self.listener.http
    }
}

impl Listener {
    /// Its API.
    pub(crate) fn api(&self, tls: &Tls) -> anyhow::Result<Api> {
        let api = Api::new(&self.http)?;
        Ok(Api { client: client(tls, TIMEOUT)?, user: self.user.pair()?, ..api })
    }
}

impl HttpUser {
    /// Name and password. The latter is no argument, since everybody on this machine can read those.
    pub(crate) fn pair(&self) -> anyhow::Result<Option<(String, String)>> {
        let Some(name) = &self.http_user else { return Ok(None) };
        if name.contains(':') {
            bail!(
                "--http-user {}…: a name has no colon; the password goes into --http-password-file FILE, or \
                 WATCHKEEP_HTTP_PASSWORD",
                name.split(':').next().unwrap_or_default()
            );
        }
        let password = match &self.http_password_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("--http-password-file {}", file.display()))?,
            None => std::env::var(PASSWORD).map_err(|_| {
                anyhow!(
                    "--http-user {name}: no password; give --http-password-file FILE, or set {PASSWORD}"
                )
            })?,
        };
        Ok(Some((name.clone(), password.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

/// A client that speaks TLS as it is told.
pub(crate) fn client(tls: &Tls, timeout: Duration) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().timeout(timeout).no_proxy();
    let builder = match tls.http()? {
        Some(config) => builder.tls_backend_preconfigured(config),
        None => builder,
    };
    Ok(builder.build()?)
}

/// A client of one node's API.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    client: reqwest::Client,
    /// Name and password.
    user: Option<(String, String)>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Api {
    /// The API at this base URL, as nobody in particular.
    pub(crate) fn new(base: &str) -> anyhow::Result<Self> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("--http {base:?} is no URL: write it as http://{base}, or set WATCHKEEP_HTTP so");
        }
        let client = client(&Tls::default(), TIMEOUT)?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client, user: None })
    }

    /// `GET`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// `GET` of what there may be none of (404).
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let (status, bytes) = self.answer(Method::GET, path, None::<&()>).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            bail!("GET {}{path}: {}", self.base, refusal(status, &bytes));
        }
        let read = serde_json::from_slice(&bytes);
        read.map(Some).with_context(|| format!("GET {}{path}: answer not understood", self.base))
    }

    /// `POST` with a JSON body.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `GET` of a text.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let bytes = self.bytes(Method::GET, path, None::<&()>).await?;
        String::from_utf8(bytes).with_context(|| format!("{}{path}: not a text", self.base))
    }

    /// `GET` of what answers with JSON whether it agrees (200) or not (409).
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> anyhow::Result<(StatusCode, T)> {
        let (status, bytes) = self.answer(Method::GET, path, None::<&()>).await?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("GET {}{path}: {}", self.base, refusal(status, &bytes));
        }
        let read = serde_json::from_slice(&bytes);
        let read = read.with_context(|| format!("GET {}{path}: answer not understood", self.base));
        Ok((status, read?))
    }

    /// Any call; an empty answer reads as null.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let bytes = self.bytes(method.clone(), path, body).await?;
        let bytes = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        serde_json::from_slice(bytes)
            .with_context(|| format!("{method} {}{path}: answer not understood", self.base))
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<Vec<u8>> {
        let (status, bytes) = self.answer(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {}{path}: {}", self.base, refusal(status, &bytes));
        }
        Ok(bytes)
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method.clone(), &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some((name, password)) = &self.user {
            request = request.basic_auth(name, Some(password));
        }
        let answer = request.send().await.map_err(|e| {
            let cause = root_cause(&e);
            anyhow!("{method} {url}: {cause}; {}", remedy(&cause))
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.with_context(|| format!("{method} {url}"))?;
        Ok((status, bytes.into()))
    }
}

/// The API's own words, or the status when there are none.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let text = match said.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str) {
        Some(message) => format!("{message} ({status})"),
        None => status.to_string(),
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            format!("{text}: say who you are with --http-user NAME and --http-password-file FILE")
        }
        // What servers of TLS say to who does not speak it.
        StatusCode::BAD_REQUEST if body.ends_with(b"to an HTTPS server.\n") => {
            format!("{text}: TLS is spoken there, so write https:// (--http URL)")
        }
        _ => text,
    }
}

/// What to do where there was no answer.
fn remedy(cause: &str) -> &'static str {
    if cause.contains("UnknownIssuer") {
        "say with --cacert FILE which authority its certificate comes from"
    } else if cause.contains("CertificateRequired") {
        "show a certificate with --cert FILE and --key FILE"
    } else {
        "is a node running there? (--http URL)"
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
