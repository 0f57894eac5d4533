//! Readers of one watch, over a real etcd.

use std::time::Duration;

use tokio::{sync::mpsc::Receiver, time::timeout};
use watchkeep_catalog::client::{Batch, Change};

use crate::support::etcd::Etcd;

/// The keys of the next batch that has any, after all that is there at the beginning: those are in brackets.
async fn told(reader: &mut Receiver<Batch>) -> Vec<String> {
    loop {
        let next = timeout(Duration::from_secs(10), reader.recv()).await;
        let batch = next.expect("a batch within ten seconds").expect("the watch goes on");
        let keys: Vec<String> = batch
            .changes
            .into_iter()
            .map(|change| match change {
                Change::Reset(kvs, _) => {
                    let keys: Vec<_> = kvs.into_iter().map(|kv| kv.key).collect();
                    format!("[{}]", keys.join(" "))
                }
                Change::Put(kv) => kv.key,
                Change::Delete { key, .. } => format!("-{key}"),
            })
            .collect();
        if !keys.is_empty() {
            return keys;
        }
    }
}

#[tokio::test]
async fn each_reader_sees_its_keys_once_from_the_beginning() {
    let etcd = Etcd::start().await;
    let put = async |key: &str| {
        etcd.client.put(key, "v", 0).await.expect("written");
    };
    put("/watchkeep/a/1").await;
    let mut first = etcd.client.follow_shared(|key| key.starts_with("/watchkeep/a/"));
    assert_eq!(told(&mut first).await, ["[/watchkeep/a/1]"]);
    put("/watchkeep/b/1").await;
    put("/watchkeep/a/2").await;
    assert_eq!(told(&mut first).await, ["/watchkeep/a/2"]);

    let mut second = etcd.client.clone().follow_shared(|_| true);
    assert_eq!(told(&mut second).await, ["[/watchkeep/a/1 /watchkeep/a/2 /watchkeep/b/1]"]);
    etcd.client.delete("/watchkeep/b/1").await.expect("deleted");
    put("/watchkeep/a/3").await;
    assert_eq!(told(&mut second).await, ["-/watchkeep/b/1"]);
    assert_eq!(told(&mut second).await, ["/watchkeep/a/3"]);
    assert_eq!(told(&mut first).await, ["/watchkeep/a/3"]);

    drop((first, second));
    put("/watchkeep/a/4").await;
    let mut third = etcd.client.follow_shared(|key| key == "/watchkeep/a/4");
    assert_eq!(told(&mut third).await, ["[/watchkeep/a/4]"]);
}
