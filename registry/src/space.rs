//! Storage nearly full: raises NOSPACE before the log or the state would fail. An operator ends the alarm, once there is
//! space again (`etcdctl alarm disarm`); as long as there is not, it is raised again.

use std::{io, path::PathBuf, time::Duration};

use tokio::time::MissedTickBehavior;
use tracing::{debug, error};

use crate::{
    cluster::Cluster,
    mvcc,
    schema::{Alarm, Body},
};

/// How often the free space is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the free space on the file system of `dir`; `free_min_bytes` 0: only for the metric.
pub(crate) async fn watch(cluster: Cluster, dir: PathBuf, free_min_bytes: u64) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let at = dir.clone();
        let free = match tokio::task::spawn_blocking(move || free_bytes(&at)).await {
            Ok(Ok(free)) => free,
            Ok(Err(error)) => {
                debug!(%error, dir = %dir.display(), "free space not known");
                continue;
            }
            Err(_) => return,
        };
        cluster.metrics().free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        if free >= free_min_bytes || is_raised(&cluster) {
            continue;
        }
        error!(
            free,
            free_min_bytes,
            dir = %dir.display(),
            "storage is nearly full: nothing more is put until there is space and the alarm NOSPACE is disarmed"
        );
        let alarm = Alarm { raise: true, member: cluster.id(), kind: mvcc::NO_SPACE };
        if let Err(error) = cluster.propose(Body::Alarm(alarm)).await {
            debug!(%error, "alarm not raised yet");
        }
    }
}

fn is_raised(cluster: &Cluster) -> bool {
    cluster.store().alarms() & (1 << mvcc::NO_SPACE) != 0
        && mvcc::alarms(&cluster.store().view())
            .is_ok_and(|alarms| alarms.contains(&(mvcc::NO_SPACE, cluster.id())))
}

/// Bytes that an unprivileged process may still write.
fn free_bytes(dir: &std::path::Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
