//! Appends to one follower over one stream: the next is sent while the former are being made durable there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};
use openraft::{
    base::BoxStream,
    errors::{NetworkError, Unreachable},
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use watchkeep_api::peer::Envelope;

use super::{
    network::{Answered, Failure, Link, unreachable},
    types::{LogId, TypeConfig},
};

/// Appends that a follower has not answered. What gathers meanwhile goes into the next one, so more of them would
/// only make each smaller.
const WINDOW: usize = 2;
/// A follower that answers none of them for so long is taken for lost, and the stream is opened anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// An append under way.
struct Sent {
    prev: Option<LogId>,
    last: Option<LogId>,
    at: Instant,
}

struct Pipeline<'l, S> {
    link: &'l Link,
    input: S,
    /// Whether there is more to send.
    open: bool,
    envelopes: mpsc::Sender<Envelope>,
    answers: Streaming<Envelope>,
    sent: VecDeque<Sent>,
}

/// Opens the stream. What it answers ends after the first failure.
///
/// # Errors
/// When the member cannot be reached.
pub(super) async fn open<'l, S>(
    link: &'l Link,
    mut input: S,
) -> Result<BoxStream<'l, Answered>, Failure>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    // In here openraft pauses after a failure: a member that is away would be called again without end otherwise.
    let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
    let (envelopes, sent) = mpsc::channel(WINDOW);
    let mut client = link.client()?;
    let opening = client.append_stream(ReceiverStream::new(sent));
    let opened = tokio::time::timeout(ANSWER_TIMEOUT, opening).await;
    let answers = opened
        .map_err(|e| Failure::from(Unreachable::new(&e)))
        .and_then(|opened| opened.map_err(|status| unreachable(&status)))
        .inspect_err(|failure| link.is_away(failure))?
        .into_inner();
    let sent = VecDeque::with_capacity(WINDOW);
    let mut pipeline = Pipeline { link, input, open: true, envelopes, answers, sent };
    pipeline.send(first)?;
    Ok(stream::unfold(Some(pipeline), |pipeline| async {
        let mut pipeline = pipeline?;
        let answer = pipeline.next().await?;
        if let Err(failure) = &answer {
            pipeline.link.is_away(failure);
        }
        let goes_on = matches!(answer, Ok(Ok(_)));
        Some((answer, goes_on.then_some(pipeline)))
    })
    .boxed())
}

impl<S> Pipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    /// Sends until there is an answer; none when all is sent and answered.
    async fn next(&mut self) -> Option<Answered> {
        while self.open || !self.sent.is_empty() {
            let oldest = self.sent.front().map(|sent| sent.at);
            let late = async {
                match oldest {
                    Some(at) => tokio::time::sleep_until((at + ANSWER_TIMEOUT).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = self.answers.message() => return Some(self.answered(answer)),
                request = self.input.next(), if self.open && self.sent.len() < WINDOW => {
                    match request {
                        Some(request) => {
                            if let Err(failure) = self.send(request) {
                                return Some(Err(failure));
                            }
                        }
                        None => self.open = false,
                    }
                }
                () = late => return Some(Err(lost("it does not answer"))),
            }
        }
        None
    }

    fn send(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Result<(), Failure> {
        let envelope = self.link.envelope(&request)?;
        self.link.metrics.sent_bytes.inc_by(envelope.body.len() as u64);
        let prev = request.prev_log_id;
        let last = request.entries.last().map_or(prev, |entry| Some(entry.log_id));
        self.sent.push_back(Sent { prev, last, at: Instant::now() });
        self.envelopes.try_send(envelope).map_err(|_| lost("the stream has ended"))
    }

    fn answered(&mut self, answer: Result<Option<Envelope>, Status>) -> Answered {
        let answer = answer
            .map_err(|status| unreachable(&status))?
            .ok_or_else(|| lost("it has ended the stream"))?;
        let Some(sent) = self.sent.pop_front() else {
            return Err(lost("it answers what was not asked"));
        };
        self.link.metrics.round_trip.observe(sent.at.elapsed().as_secs_f64());
        self.link.is_back();
        let answer: AppendEntriesResponse<TypeConfig> =
            postcard::from_bytes(&answer.body).map_err(|e| NetworkError::new(&e))?;
        Ok(answer.into_stream_result(sent.prev, sent.last))
    }
}

fn lost(what: &str) -> Failure {
    Unreachable::from_string(what).into()
}
