//! A million keys: the memory they take, and how soon a killed member answers again.

use std::time::{Duration, Instant};

use etcd_client::{Client, Txn, TxnOp};

use super::{load::connect, side::Side};

const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 100;
/// Puts in one transaction: etcd's limit is 128.
const OPS: usize = 100;
const CLIENTS: usize = 16;
/// Time for what goes on in the background before memory is read.
const SETTLE: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Clone, Copy)]
pub(crate) struct Million {
    pub(crate) resident_mb: f64,
    pub(crate) resident_after_mb: f64,
    pub(crate) open_seconds: f64,
}

/// Fills the only member of `side`, kills it, and starts it again.
pub(crate) async fn million(side: &mut Side) -> Million {
    let clients = connect(&side.urls(), CLIENTS).await;
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(at, mut client)| {
            tokio::spawn(async move {
                for batch in (at..KEYS / OPS).step_by(CLIENTS) {
                    let puts = (0..OPS).map(|op| {
                        let key = format!("/million/{:08}", batch * OPS + op);
                        TxnOp::put(key, vec![b'x'; VALUE_BYTES], None)
                    });
                    client.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await.expect("txn");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("filled");
    }
    tokio::time::sleep(SETTLE).await;
    let resident_mb = side.resident_bytes() as f64 / 1e6;
    side.kill(0);
    let begin = Instant::now();
    side.start_again(0);
    let url = side.urls().remove(0);
    while !answers(&url).await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let open_seconds = begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    Million { resident_mb, resident_after_mb: side.resident_bytes() as f64 / 1e6, open_seconds }
}

/// Whether a linearizable read of the last key finds it.
async fn answers(url: &str) -> bool {
    let read = async {
        let mut client = Client::connect([url], None).await.ok()?;
        let answer = client.get(format!("/million/{:08}", KEYS - 1), None).await.ok()?;
        (answer.kvs().len() == 1).then_some(())
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.is_ok_and(|found| found.is_some())
}
