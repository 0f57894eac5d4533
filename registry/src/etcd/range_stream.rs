//! `etcdserverpb.KV.RangeStream`: a range of any size in parts, all of one revision. A part is read when the one before it
//! is on its way, so a slow client costs no memory, and none of them is read on a thread that keeps time.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use watchkeep_api::etcdserverpb::{
    RangeRequest, RangeResponse, RangeStreamResponse, range_request::SortOrder,
};

use super::{convert, errors::refused, header, limits};
use crate::{
    auth::Caller,
    cluster::{Cluster, ClusterError},
    mvcc::{self, Page, Pages},
    schema::Range,
    store::StoreView,
};

/// Keys and values of a part, after which it ends: two of etcd's largest requests fit into what clients read by default.
const PART_BYTES: usize = 1 << 20;
/// Parts that wait for the client.
const PARTS_MAX: usize = 1;

/// The parts.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

/// Refuses what cannot be streamed, in etcd's words.
pub(super) fn check(request: &RangeRequest) -> Result<(), Status> {
    limits::check_range(request)?;
    let ordered = request.sort_order == SortOrder::None as i32
        || (request.sort_order == SortOrder::Ascend as i32 && request.sort_target == 0);
    if !ordered {
        return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if bounds != [0; 4] {
        return Err(Status::unimplemented("RangeStream does not support revision filters"));
    }
    Ok(())
}

/// Begins.
pub(super) fn stream(cluster: Cluster, caller: Caller, request: RangeRequest) -> Parts {
    let (parts, stream) = tokio::sync::mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        if let Err(status) = send(&cluster, &caller, request, &parts).await {
            // Nobody may be there to hear it.
            let _ = parts.send(Err(status)).await;
        }
    });
    Box::pin(ReceiverStream::new(stream))
}

async fn send(
    cluster: &Cluster,
    caller: &Caller,
    request: RangeRequest,
    parts: &Sender<Result<RangeStreamResponse, Status>>,
) -> Result<(), Status> {
    if !request.serializable {
        cluster.linearizable_view().await?;
    }
    // Of the state of now the limit is the same: what is newer is compacted later.
    let now = cluster.store().applied().revision;
    let revision = if request.revision > 0 { request.revision } else { now };
    let mut left = match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 => limit,
        _ => usize::MAX,
    };
    let mut wanted = Pages {
        key: request.key,
        range_end: request.range_end,
        revision,
        keys_only: request.keys_only,
    };
    let whole =
        Range { key: wanted.key.clone(), range_end: wanted.range_end.clone(), ..Range::default() };
    let mut count = 0;
    if request.count_only {
        left = 0;
    }
    loop {
        // Of each part anew: a permission may be taken away while a slow client reads.
        cluster.auth().check_range(caller, &whole)?;
        let page = match left {
            0 => Page { kvs: Vec::new(), next: Some(wanted.key.clone()) },
            keys => {
                let wanted = wanted.clone();
                read(cluster, move |view, revisions| {
                    mvcc::page(view, &wanted, revisions, keys, PART_BYTES)
                })
                .await?
            }
        };
        count += i64::try_from(page.kvs.len()).unwrap_or(i64::MAX);
        left -= page.kvs.len();
        let mut response = RangeResponse {
            kvs: page.kvs.into_iter().map(convert::kv).collect(),
            ..RangeResponse::default()
        };
        let last = page.next.is_none() || left == 0;
        wanted.key = page.next.clone().unwrap_or_default();
        if last {
            response.count = count + beyond(cluster, &wanted, page.next).await?;
            response.more = !request.count_only && response.count > count;
            response.header = header(cluster, now);
        }
        let part = RangeStreamResponse { range_response: Some(response) };
        if parts.send(Ok(part)).await.is_err() || last {
            return Ok(());
        }
    }
}

/// Keys that the limit has cut off: they count.
async fn beyond(cluster: &Cluster, wanted: &Pages, next: Option<Bytes>) -> Result<i64, Status> {
    if next.is_none() {
        return Ok(0);
    }
    let wanted = wanted.clone();
    read(cluster, move |view, revisions| mvcc::count(view, &wanted, revisions)).await
}

/// Reads from the newest view, away from the threads that keep time. What was read while a snapshot replaced the state is
/// not given out.
async fn read<T: Send + 'static>(
    cluster: &Cluster,
    work: impl FnOnce(&StoreView, (i64, i64)) -> Result<Result<T, mvcc::Refusal>, mvcc::ViewError>
    + Send
    + 'static,
) -> Result<T, Status> {
    let _permit = cluster.admit()?;
    let life = cluster.store().life().ok_or(ClusterError::Replaced)?;
    let view = cluster.store().view();
    let joined = tokio::task::spawn_blocking(move || {
        let applied = view.applied();
        work(&view, (applied.revision, applied.compact_revision))
    })
    .await;
    let found = joined.map_err(|e| Status::internal(e.to_string()))?;
    if cluster.store().life() != Some(life) {
        return Err(ClusterError::Replaced.into());
    }
    found.map_err(ClusterError::from)?.map_err(refused)
}
