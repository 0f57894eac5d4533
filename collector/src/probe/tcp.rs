//! The TCP probe: good is what accepts a connection, speaks TLS if asked to, and keeps to the dialogue.

use std::sync::Arc;

use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use watchkeep_catalog::{DialogueStep, TcpCheck};

use super::{Context, Endpoint, Phase, Stopwatch, connect::io_words, tls::Tls};

mod lines;

use lines::Lines;

/// Most of a line in a reason.
const SHOWN_BYTES_MAX: usize = 120;

#[derive(Debug)]
pub(super) struct TcpProbe {
    /// TLS begins with the connection.
    tls_at_once: bool,
    tls: Option<Tls>,
    steps: Vec<Step>,
}

/// Hear, then say, then TLS.
#[derive(Debug)]
struct Step {
    /// From 1.
    number: usize,
    expect: Option<Regex>,
    send: String,
    starttls: bool,
}

/// A connection, plain or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl TcpProbe {
    /// Whether the dialogue's expressions can be read.
    pub(super) fn readable(check: &TcpCheck) -> Result<(), String> {
        Step::all(check).map(drop)
    }

    pub(super) fn new(
        endpoint: &Endpoint,
        check: &TcpCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let steps = Step::all(check)?;
        let speaks_tls = check.tls || steps.iter().any(|step| step.starttls);
        let settings = check.tls_config.clone().unwrap_or_default();
        let tls = speaks_tls.then(|| context.tls(&settings, &[], &endpoint.address));
        Ok(Self { tls_at_once: check.tls, tls: tls.transpose()?, steps })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        watch.fact("probe_failed_due_to_regex", 0.0);
        let stream = endpoint.connect(watch).await?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            Some(tls) if self.tls_at_once => {
                Box::new(Box::pin(tls.connect(stream, endpoint, watch)).await?)
            }
            _ if self.steps.is_empty() => return Ok("connected".to_owned()),
            _ => Box::new(stream),
        };
        let mut lines = Lines::default();
        for step in &self.steps {
            watch.enter(Phase::Processing);
            step.talk(&mut stream, &mut lines, watch).await?;
            if let Some(tls) = self.tls.as_ref().filter(|_| step.starttls) {
                // Behind TLS nothing counts that was said in plain text.
                lines.clear();
                stream = Box::new(Box::pin(tls.connect(stream, endpoint, watch)).await?);
            }
        }
        Ok(match self.steps.len() {
            0 => "connected with TLS".to_owned(),
            1 => "connected, 1 step".to_owned(),
            steps => format!("connected, {steps} steps"),
        })
    }
}

impl Step {
    fn all(check: &TcpCheck) -> Result<Vec<Self>, String> {
        check.query_response.iter().zip(1..).map(|(step, number)| Self::new(step, number)).collect()
    }

    fn new(step: &DialogueStep, number: usize) -> Result<Self, String> {
        let expect = step.expect.as_deref().filter(|pattern| !pattern.is_empty()).map(Regex::new);
        let expect = expect.transpose();
        let expect =
            expect.map_err(|e| format!("tcp.query_response, step {number}: expect: {e}"))?;
        Ok(Self { number, expect, send: step.send.clone(), starttls: step.starttls })
    }

    async fn talk<S>(
        &self,
        stream: &mut S,
        lines: &mut Lines,
        watch: &mut Stopwatch,
    ) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut send = self.send.clone().into_bytes();
        if let Some(pattern) = &self.expect {
            let line = self.hear(pattern, stream, lines, watch).await?;
            if let Some(groups) = pattern.captures(&line) {
                send.clear();
                groups.expand(self.send.as_bytes(), &mut send);
            }
        }
        if send.is_empty() {
            return Ok(());
        }
        send.push(b'\n');
        let failed = |e| format!("step {}: nothing can be sent: {}", self.number, io_words(&e));
        stream.write_all(&send).await.map_err(failed)?;
        stream.flush().await.map_err(failed)
    }

    /// The first line that matches.
    async fn hear<S: AsyncRead + Unpin>(
        &self,
        pattern: &Regex,
        stream: &mut S,
        lines: &mut Lines,
        watch: &mut Stopwatch,
    ) -> Result<Vec<u8>, String> {
        let number = self.number;
        let mut last = None;
        loop {
            let line = lines.next(stream).await.map_err(|e| format!("step {number}: {e}"))?;
            let Some(line) = line else {
                watch.fact("probe_failed_due_to_regex", 1.0);
                let heard = last.map_or_else(|| "nothing".to_owned(), |line: Vec<u8>| shown(&line));
                return Err(format!(
                    "step {number}: no line matches {:?} until the connection is closed; the last is {heard}",
                    pattern.as_str()
                ));
            };
            watch.note(|| format!("step {number}: heard {}", shown(&line)));
            if pattern.is_match(&line) {
                return Ok(line);
            }
            last = Some(line);
        }
    }
}

/// A line for people.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]);
    format!("{text:?}")
}

#[cfg(test)]
mod tests;
