//! `Maintenance.Snapshot`: a backup of this member's state, streamed while it is read. Reading waits for the client, and
//! rests as long as it works, so that it takes no more than half a core from those who write.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use watchkeep_api::etcdserverpb::SnapshotResponse;

use super::{ETCD_VERSION, header};
use crate::{
    background,
    backup::{BackupWriter, Origin},
    cluster::{Cluster, ClusterError},
};

/// Snapshots at once.
const STREAMS_MAX: usize = 2;
/// Pieces of a snapshot that wait for the client.
const PIECES_MAX: usize = 4;
/// How long a client may take nothing before its snapshot is ended: as long as it lasts, the state keeps what it would
/// forget.
const STALLED: Duration = Duration::from_secs(60);
/// Longest rest between two pieces.
const REST_MAX: Duration = Duration::from_millis(20);

type Sender = mpsc::Sender<Result<SnapshotResponse, Status>>;
pub(super) type Pieces = ReceiverStream<Result<SnapshotResponse, Status>>;

/// Where snapshots are taken from.
pub(super) struct Snapshots {
    cluster: Cluster,
    streams: Arc<Semaphore>,
}

impl Snapshots {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, streams: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }

    /// Begins one.
    pub(super) fn begin(&self) -> Result<Pieces, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| ClusterError::TooManyRequests)?;
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let (cluster, runtime) = (self.cluster.clone(), Handle::current());
        let reading = move || {
            background::yield_to_others(background::WHENEVER);
            send(&cluster, &sender, &runtime, permit);
        };
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(reading);
        thread.map_err(|e| Status::unavailable(format!("watchkeep: no thread for it: {e}")))?;
        Ok(ReceiverStream::new(pieces))
    }
}

fn send(cluster: &Cluster, sender: &Sender, runtime: &Handle, _permit: OwnedSemaphorePermit) {
    if let Err(status) = pieces(cluster, |piece| offer(sender, runtime, Ok(piece))) {
        // Whoever is gone does not hear it.
        let _ = offer(sender, runtime, Err(status));
    }
}

/// Hands over one piece; an error when nobody takes it.
fn offer(
    sender: &Sender,
    runtime: &Handle,
    piece: Result<SnapshotResponse, Status>,
) -> Result<(), Status> {
    // The timer is made within the runtime, since this thread is not one of its own.
    let sent = runtime.block_on(async { timeout(STALLED, sender.send(piece)).await });
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Status::cancelled("the client is gone")),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "watchkeep: nothing of the snapshot was taken for {} s",
            STALLED.as_secs()
        ))),
    }
}

fn pieces(
    cluster: &Cluster,
    mut take: impl FnMut(SnapshotResponse) -> Result<(), Status>,
) -> Result<(), Status> {
    let life = cluster.store().life().ok_or(ClusterError::Replaced)?;
    let view = cluster.store().view();
    let revision = view.applied().revision;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let origin = Origin {
        cluster: cluster.cluster_id(),
        member: cluster.id(),
        taken_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
    };
    let disk = cluster.store().stats().disk_bytes;
    let (mut writer, mut sent) = (BackupWriter::new(view, origin), 0u64);
    loop {
        let began = Instant::now();
        let piece = writer.next_piece().map_err(ClusterError::from)?;
        if cluster.store().life() != Some(life) {
            return Err(ClusterError::Replaced.into());
        }
        let Some(blob) = piece else { return Ok(()) };
        sent += blob.len() as u64;
        // How long it will be is known at the end only: until then an estimate, never 0.
        let remaining_bytes = if writer.is_done() { 0 } else { disk.saturating_sub(sent).max(1) };
        let worked = began.elapsed();
        take(SnapshotResponse {
            header: header(cluster, revision),
            remaining_bytes,
            blob,
            version: ETCD_VERSION.to_owned(),
        })?;
        std::thread::sleep(worked.min(REST_MAX));
    }
}
