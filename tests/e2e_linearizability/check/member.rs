//! One member as long as it lives: its own state, which serializable reads show, never goes back in time; and all
//! members tell the same story.

use std::collections::BTreeMap;

use crate::history::{Call, Event, History, Record, Step};

/// Judges serializable reads member by member.
pub(crate) fn check(history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut members: BTreeMap<(usize, u64), Vec<&Record>> = BTreeMap::new();
    // A read is answered from the member's own state. A write may be answered by the leader's.
    let reads = history.records.iter().filter(|record| {
        let read = |step: &Step| step.write().is_none();
        record.outcome().is_some()
            && record.action.call != Call::Txn
            && record.action.then.iter().all(read)
            && record.lives.0 == record.lives.1
    });
    for record in reads {
        members.entry((record.member, record.lives.0)).or_default().push(record);
    }
    for ((member, _), mut reads) in members {
        let revision = |record: &Record| record.outcome().map_or(0, |outcome| outcome.revision);
        let mut ended = reads.clone();
        ended.sort_by_key(|record| record.end);
        reads.sort_by_key(|record| record.begin);
        let (mut ended, mut floor) = (ended.into_iter().peekable(), 0);
        for read in reads {
            while let Some(end) = ended.next_if(|end| end.end < read.begin) {
                floor = floor.max(revision(end));
            }
            if revision(read) < floor {
                wrong.push(format!("member {member} went back from revision {floor}: {read:?}"));
            }
        }
    }
    wrong
}

/// Where members' accounts of everything that happened differ.
pub(crate) fn agree(accounts: &BTreeMap<usize, Vec<Event>>) -> Vec<String> {
    let Some((first, account)) = accounts.first_key_value() else {
        return vec!["no member told what happened".to_owned()];
    };
    let mut wrong = Vec::new();
    for (member, other) in accounts.iter().skip(1) {
        let differ =
            (0..account.len().max(other.len())).find(|at| account.get(*at) != other.get(*at));
        if let Some(at) = differ {
            let (one, two) = (account.get(at), other.get(at));
            wrong.push(format!("members {first} and {member} differ: {one:?} and {two:?}"));
        }
    }
    wrong
}
