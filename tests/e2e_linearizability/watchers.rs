//! Watchers: each follows everything from revision 1 on, over every loss of its connection, at its member or at one
//! member after another.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Status;
use watchkeep_api::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, watch_client::WatchClient,
    watch_create_request::FilterType, watch_request::RequestUnion,
};

use crate::{
    clients::Run,
    history::{Batch, Event, Watch},
    rpc,
};

/// When nothing has come for so long, progress is asked for.
const QUIET: Duration = Duration::from_millis(400);
/// Questions for progress without an answer, until the connection is given up.
const QUESTIONS_MAX: usize = 5;
const RECONNECT: Duration = Duration::from_millis(50);

/// What a watcher asks for, and where.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) prefix: &'static str,
    /// None: at the next member after every loss.
    pub(crate) member: Option<usize>,
    pub(crate) prev_kv: bool,
    pub(crate) no_delete: bool,
}

/// Follows until it has been shown everything up to the revision that `end` gives when it is known.
pub(crate) async fn follow(
    plan: Plan,
    run: Run,
    end: tokio::sync::watch::Receiver<Option<i64>>,
) -> Vec<Watch> {
    let place = plan.member.map_or("everywhere".to_owned(), |at| format!("at member {}", at + 1));
    let name = format!("watcher of {:?} {place}", plan.prefix);
    let (mut watches, mut from, mut at) = (Vec::new(), 1, plan.member.unwrap_or_default());
    loop {
        let mut watch = Watch {
            name: name.clone(),
            prefix: plan.prefix.to_owned(),
            from,
            prev_kv: plan.prev_kv,
            no_delete: plan.no_delete,
            batches: Vec::new(),
        };
        let url = &run.members[at].0;
        // How it ended does not matter: it goes on where it stopped.
        let _ = one(&mut watch, url, &run, &end).await;
        let reached = watch.batches.last().map_or(from - 1, Batch::through);
        watches.push(watch);
        from = from.max(reached + 1);
        if end.borrow().is_some_and(|end| from > end) {
            return watches;
        }
        if plan.member.is_none() {
            at = (at + 1) % run.members.len();
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn one(
    watch: &mut Watch,
    url: &str,
    run: &Run,
    end: &tokio::sync::watch::Receiver<Option<i64>>,
) -> Result<(), Status> {
    let create = WatchCreateRequest {
        key: rpc::begin_of(&watch.prefix).into(),
        range_end: rpc::end_of(&watch.prefix).into(),
        start_revision: watch.from,
        prev_kv: watch.prev_kv,
        progress_notify: true,
        filters: if watch.no_delete { vec![FilterType::Nodelete.into()] } else { vec![] },
        ..WatchCreateRequest::default()
    };
    let (requests, sending) = mpsc::channel(4);
    let send = |union| requests.try_send(WatchRequest { request_union: Some(union) });
    send(RequestUnion::CreateRequest(create)).map_err(|_| Status::internal("full"))?;
    let mut client = WatchClient::new(rpc::channel(url));
    let opening = client.watch(ReceiverStream::new(sending));
    let opened = timeout(QUIET * 5, opening).await.map_err(|_| Status::unavailable("late"))??;
    let (mut responses, mut questions) = (opened.into_inner(), 0);
    while questions < QUESTIONS_MAX {
        let Ok(next) = timeout(QUIET, responses.next()).await else {
            questions += 1;
            let _ = send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
            continue;
        };
        let response = next.ok_or_else(|| Status::unavailable("ended"))??;
        if response.canceled {
            return Err(Status::aborted(response.cancel_reason));
        }
        if response.created {
            continue;
        }
        questions = 0;
        let events: Vec<Event> = response.events.into_iter().map(rpc::event).collect();
        let revision = response.header.map_or(0, |header| header.revision);
        let batch = Batch { at: run.now(), revision, events };
        let through = batch.through();
        watch.batches.push(batch);
        if end.borrow().is_some_and(|end| through >= end) {
            return Ok(());
        }
    }
    Err(Status::unavailable("silent"))
}
