//! The leader's end of the write path: batches of proposals go into the log, and each is answered as it is applied.

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use openraft::errors::ClientWriteError;
use prost::Message;
use tracing::{Span, debug_span, level_filters::LevelFilter};
use watchkeep_api::trace::{set_parent, trace_parent};

use super::{
    ClusterError,
    queue::{Batches, Proposal},
};
use crate::{
    metrics::Metrics,
    raft::types::{Encoded, Raft},
    schema::Command,
};

/// Batches under way at once: one on its way through the logs, and one that goes into the leader's log meanwhile.
const WINDOW: usize = 2;

/// Serves batches until every queue is gone and the last of them is answered.
pub(super) async fn run(mut batches: Batches, raft: Raft, metrics: std::sync::Arc<Metrics>) {
    let mut writing = FuturesUnordered::new();
    // The size of the newest one; it is at least that of those before it.
    let mut size = 0;
    loop {
        let at_least = if writing.is_empty() { 1 } else { size };
        tokio::select! {
            biased;
            Some(()) = writing.next(), if !writing.is_empty() => {}
            batch = batches.next(at_least), if writing.len() < WINDOW => match batch {
                Some(batch) => {
                    size = batch.len();
                    writing.push(write(&raft, &metrics, batch));
                }
                None => break,
            }
        }
    }
    while writing.next().await.is_some() {}
}

async fn write(raft: &Raft, metrics: &Metrics, batch: Vec<Proposal>) {
    let began = Instant::now();
    let traced = batch.into_iter().map(Proposal::split).map(|(command, answer)| {
        let (command, span) = in_trace(command);
        (command, (answer, span))
    });
    let (commands, waiting): (Vec<_>, Vec<_>) = traced.unzip();
    // None: the core has ended; each is told below.
    let mut written = raft.client_write_many(commands.into_iter().map(Encoded)).await.ok();
    for (answer, _span) in waiting {
        let next = match &mut written {
            Some(written) => written.next().await,
            None => None,
        };
        // Whoever waited may have gone.
        let _ = answer.send(match next {
            Some(Ok(Ok(written))) => {
                metrics.proposed(began.elapsed());
                written.response.outcome.ok_or(ClusterError::Stopped)
            }
            Some(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(ClusterError::NotLeader),
            // It was in the log of a leader that lost the lead: the next one has it, or nobody.
            Some(Ok(Err(_))) => Err(ClusterError::LeaderChanged),
            Some(Err(_)) | None => Err(ClusterError::Stopped),
        });
    }
}

/// A command of a trace goes through the log in a span of its own, from which applying it hangs on every member: from
/// when the leader takes it to when a majority has it and the leader has applied it.
fn in_trace(command: Bytes) -> (Bytes, Span) {
    // Reading a command costs something; nobody traces at a level that nobody listens to.
    if LevelFilter::current() < LevelFilter::DEBUG {
        return (command, Span::none());
    }
    match Command::decode(command.clone()) {
        Ok(mut decoded) if is_sampled(&decoded.trace_parent) => {
            let span = debug_span!("commit");
            set_parent(&span, Some(&decoded.trace_parent));
            decoded.trace_parent = trace_parent(&span).unwrap_or_default();
            (decoded.encode_to_vec().into(), span)
        }
        // One that cannot be read is judged where it is applied.
        Ok(_) | Err(_) => (command, Span::none()),
    }
}

/// Whether somebody keeps this trace (W3C Trace Context §3.2.2.5.1).
fn is_sampled(trace_parent: &str) -> bool {
    let flags =
        trace_parent.rsplit('-').next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn the_last_bit_says_whether_a_trace_is_kept() {
        let of = |flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        for (trace_parent, sampled) in [
            (of("01"), true),
            (of("03"), true),
            (of("00"), false),
            (of("zz"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_sampled(&trace_parent), sampled, "{trace_parent}");
        }
    }
}
