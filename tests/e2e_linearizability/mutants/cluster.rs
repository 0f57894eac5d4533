//! A bug of a real cluster: a follower answers reads from its own state and asks no leader. What such a member would say
//! is what a member that is cut off says to serializable reads; written down as linearizable, they have to be found.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    MEMBERS, RECOVERY, accounts,
    check::check,
    clients::Client,
    common::eventually,
    faults::leader_of,
    history::{Action, Call, History, Record, Step},
    network, ready, start,
};

const KEY: &str = "r/0";

fn put(client: &mut Client) -> Action {
    Action::plain(Step::Put { key: KEY.to_owned(), value: client.value(), lease: 0 })
}

fn read(_: &mut Client) -> Action {
    Action::plain(Step::Read { key: KEY.to_owned() })
}

fn read_own(client: &mut Client) -> Action {
    Action { call: Call::Serializable, ..read(client) }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_asks_no_leader_is_caught() {
    let Some(network) = network() else { return };
    let dir = tempfile::TempDir::with_prefix("watchkeep-linearizability-").expect("a folder");
    let (mut nemesis, run) = start(network, 0, dir.path()).await;
    let leader = eventually("a leader", RECOVERY, async || {
        leader_of(&run).await.ok_or_else(|| "nobody leads".to_owned())
    })
    .await;
    let follower = (leader + 1) % MEMBERS;
    // A client begins at the member of its number.
    let mut writer = Client::new(leader, run.clone(), 0);
    let mut reader = Client::new(MEMBERS + follower, run.clone(), 0);

    answered(&mut writer, put).await;
    let (_, old) = answered(&mut reader, read).await;
    assert!(old.is_some(), "what was acknowledged is read");
    nemesis.network.cut_off(follower).expect("it is cut off");
    answered(&mut writer, put).await;
    let (_, own) = answered(&mut reader, read_own).await;
    assert_eq!(own, old, "it cannot know of the second put");
    let action = read(&mut reader);
    let asked = reader.perform(action).await.expect("clients reach it");
    assert_eq!(asked.outcome(), None, "cut off, it does not answer linearizable reads");
    nemesis.heal().await;
    ready(&mut nemesis, &run).await;
    let (_, new) = answered(&mut reader, read).await;
    assert_ne!(new, old);
    let (last, _) = answered(&mut writer, put).await;

    let accounts = accounts(&run, last).await;
    let records = std::mem::take(&mut *run.records.lock().expect("no holder panicked"));
    let mut history = History { records, accounts, calm: run.now(), ..History::default() };
    assert_eq!(check(&history), Vec::<String>::new(), "the product has not this bug");
    for record in &mut history.records {
        if record.action.call == Call::Serializable {
            record.action.call = Call::Plain;
        }
    }
    let wrong = check(&history);
    for check in ["order", "register"] {
        let found = wrong.iter().any(|what| what.starts_with(check));
        assert!(found, "{check} found nothing; {wrong:?}");
    }
}
