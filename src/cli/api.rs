//! The HTTP API of a node, as the commands use it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which node is asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct Node {
    /// A node's HTTP listener
    #[arg(
        long,
        value_name = "URL",
        env = "WATCHKEEP_HTTP",
        default_value = "http://127.0.0.1:8480"
    )]
    http: String,
}

impl Node {
    /// Its API.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.http)
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> &str {
        &self.http
    }
}

/// A client of one node's API.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    /// The API at this base URL.
    pub(crate) fn new(base: &str) -> anyhow::Result<Self> {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("--http {base:?} is no URL: write it as http://{base}, or set WATCHKEEP_HTTP so");
        }
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
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
        let answer = request.send().await.map_err(|e| {
            anyhow::anyhow!(
                "{method} {url}: {}; is a node running there? (--http URL)",
                root_cause(&e)
            )
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.with_context(|| format!("{method} {url}"))?;
        Ok((status, bytes.into()))
    }
}

/// The API's own words, or the status when there are none.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    match said.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str) {
        Some(message) => format!("{message} ({status})"),
        None => status.to_string(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
