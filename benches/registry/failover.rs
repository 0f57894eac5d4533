//! How long no write succeeds after the leader is killed.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{load::connect, side::Side};

/// Each survivor is given a put this often, whether or not it has answered the last.
const PACE: Duration = Duration::from_millis(10);
/// A put that has no answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(4);

/// Kills the leader and answers with the time from then to the first answer to a put that was sent afterwards.
/// The killed member is back when this returns.
pub(crate) async fn outage(side: &mut Side) -> Duration {
    let leader = side.leader().await;
    let mut urls = side.urls();
    urls.remove(leader);
    let clients = connect(&urls, urls.len()).await;
    for client in &clients {
        client.clone().put("/failover", "before", None).await.expect("all is well before");
    }
    let killed = Instant::now();
    side.kill(leader);
    let (sender, mut answered) = mpsc::unbounded_channel();
    let mut ticks = tokio::time::interval(PACE);
    let outage = loop {
        tokio::select! {
            _ = ticks.tick() => for client in &clients {
                let (mut client, sender) = (client.clone(), sender.clone());
                tokio::spawn(async move {
                    let put = client.put("/failover", "after", None);
                    if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, put).await {
                        let _ = sender.send(Instant::now());
                    }
                });
            },
            Some(at) = answered.recv() => break at - killed,
        }
    };
    side.start_again(leader);
    side.ready(leader).await;
    outage
}
