//! Random operations against a naive model, over restarts and crashes.

use openraft::storage::RaftLogStorage;
use proptest::prelude::*;

use super::{Contents, append, contents, copy, entry, id, open, vote};

#[derive(Debug, Clone)]
enum Step {
    Append {
        entries: u64,
        bytes: usize,
    },
    /// Drop so many.
    Truncate(u64),
    /// So many beyond what is purged already; may go beyond the last entry.
    Purge(u64),
    Vote,
    Commit,
    Reopen,
    /// Go on with a copy of the files as they are.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..6_u64, 0..900_usize).prop_map(|(entries, bytes)| Step::Append { entries, bytes }),
        2 => (1..5_u64).prop_map(Step::Truncate),
        2 => (1..8_u64).prop_map(Step::Purge),
        1 => Just(Step::Vote),
        1 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn follows_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}

async fn run(steps: Vec<Step>) {
    let mut dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut model = Contents::default();
    let mut term = 1;
    let mut committed = None;
    for step in steps {
        match &step {
            Step::Append { entries, bytes } => {
                let next = model.last.map_or(1, |last| last.index + 1);
                let new: Vec<_> =
                    (next..next + entries).map(|index| entry(term, index, *bytes)).collect();
                append(&mut store, new.clone()).await;
                model.entries.extend(new);
            }
            Step::Truncate(count) => {
                // Raft never truncates what is committed.
                let fixed = model
                    .entries
                    .iter()
                    .take_while(|entry| Some(entry.log_id) <= committed)
                    .count();
                let keep = model.entries.len().saturating_sub(*count as usize).max(fixed);
                let last = keep.checked_sub(1).map(|i| model.entries[i].log_id).or(model.purged);
                store.truncate_after(last).await.unwrap();
                model.entries.truncate(keep);
                term += 1;
            }
            Step::Purge(count) => {
                let upto = model.purged.map_or(0, |purged| purged.index) + count;
                let known = model.entries.iter().find(|entry| entry.log_id.index == upto);
                let purged = known.map_or(id(term, upto), |entry| entry.log_id);
                store.purge(purged).await.unwrap();
                model.entries.retain(|entry| entry.log_id.index > upto);
                model.purged = Some(purged);
            }
            Step::Vote => {
                term += 1;
                store.save_vote(&vote(term)).await.unwrap();
                model.vote = Some(vote(term));
            }
            Step::Commit => {
                committed = model.last;
                store.save_committed(committed).await.unwrap();
            }
            Step::Reopen => {
                store.close().await.unwrap();
                store = open(dir.path());
                assert_eq!(store.read_committed().await.unwrap(), committed);
            }
            Step::Crash => {
                // A truncation or purge is queued, not awaited: a vote is, and comes after.
                let current = model.vote.unwrap_or(vote(term));
                store.save_vote(&current).await.unwrap();
                model.vote = Some(current);
                let crashed = tempfile::tempdir().unwrap();
                copy(dir.path(), crashed.path());
                store.close().await.unwrap();
                dir = crashed;
                store = open(dir.path());
            }
        }
        model.last = model.entries.last().map(|entry| entry.log_id).or(model.purged);
        assert_eq!(contents(&mut store).await, model, "after {step:?}");
    }
}
