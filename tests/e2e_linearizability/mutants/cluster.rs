//! A bug of a real cluster: a member answers linearizable reads from its own state and asks no leader. It is put back into
//! the product, and has to be found in what clients were told; without it they are told nothing.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    MEMBERS, RECOVERY, accounts,
    check::check,
    clients::Client,
    common::eventually,
    faults::leader_of,
    history::{Action, History, Record, Step},
    network,
    network::Network,
    ready, start,
};

const KEY: &str = "r/0";

fn put(client: &mut Client) -> Action {
    Action::plain(Step::Put { key: KEY.to_owned(), value: client.value(), lease: 0 })
}

fn read(_: &mut Client) -> Action {
    Action::plain(Step::Read { key: KEY.to_owned() })
}

/// Does it, again until it is answered; the answer's revision and the value that it found.
async fn answered(client: &mut Client, action: fn(&mut Client) -> Action) -> (i64, Option<String>) {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let action = action(client);
        let record = client.perform(action).await;
        if let Some(outcome) = record.as_ref().and_then(Record::outcome) {
            let found = outcome.found[0].first().map(|kv| kv.value.clone());
            return (outcome.revision, found);
        }
        assert!(Instant::now() < deadline, "not answered within {RECOVERY:?}: {record:?}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// What a client is told at a follower that is cut off, of a put that was acknowledged at the leader meanwhile: the read's
/// record, and what all the checks say of the whole history.
async fn read_while_cut_off(network: Network, bug: Option<&'static str>) -> (Record, Vec<String>) {
    let dir = tempfile::TempDir::with_prefix("watchkeep-linearizability-").expect("a folder");
    let (mut nemesis, run) = start(network, 0, dir.path(), bug).await;
    let leader = eventually("a leader", RECOVERY, async || {
        leader_of(&run).await.ok_or_else(|| "nobody leads".to_owned())
    })
    .await;
    let follower = (leader + 1) % MEMBERS;
    // A client begins at the member of its number.
    let mut writer = Client::new(leader, run.clone(), 0);
    let mut reader = Client::new(MEMBERS + follower, run.clone(), 0);

    answered(&mut writer, put).await;
    let old = seen(&mut reader, |found| found.is_some()).await;
    nemesis.network.cut_off(follower).expect("it is cut off");
    answered(&mut writer, put).await;
    let action = read(&mut reader);
    let told = reader.perform(action).await.expect("clients reach it");
    nemesis.heal().await;
    ready(&mut nemesis, &run).await;
    seen(&mut reader, |found| found.is_some() && *found != old).await;
    let (last, _) = answered(&mut writer, put).await;

    let accounts = accounts(&run, last).await;
    let records = std::mem::take(&mut *run.records.lock().expect("no holder panicked"));
    let history = History { records, accounts, calm: run.now(), ..History::default() };
    (told, check(&history))
}

/// Reads until it finds what is looked for.
async fn seen(client: &mut Client, wanted: impl Fn(&Option<String>) -> bool) -> Option<String> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let (_, found) = answered(client, read).await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "still {found:?} after {RECOVERY:?}");
        sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_no_leader_is_caught() {
    let Some(network) = network() else { return };
    let (told, wrong) = read_while_cut_off(network, Some("reads-ask-no-leader")).await;
    assert!(told.outcome().is_some(), "it answers from its own state: {told:?}");
    for check in ["order", "register"] {
        let found = wrong.iter().any(|what| what.starts_with(check));
        assert!(found, "{check} found nothing; {wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_answers_no_linearizable_read() {
    let Some(network) = network() else { return };
    let (told, wrong) = read_while_cut_off(network, None).await;
    assert_eq!(told.outcome(), None, "{told:?}");
    assert_eq!(wrong, Vec::<String>::new(), "the product has not this bug");
}
