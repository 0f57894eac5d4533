//! A leader whose registry refuses, is silent, or is read anew.

use super::*;
use crate::{
    alertmanager::fixtures::{alert, shared},
    fixtures::time,
};

const YAML: &str = r#"
route: {receiver: r, group_by: [a], group_wait: 0s, group_interval: 5m}
receivers: [{name: r, webhook_configs: [{url: "http://127.0.0.1:1/"}]}]
"#;

/// A leader with so many groups that are due, and what they have to say.
fn leader(groups: usize) -> (Conductor, Batch) {
    let mut conductor = Conductor::new(shared(YAML));
    let mut board = conductor.shared.board_mut();
    board.begin(time(0));
    for at in 0..groups {
        let alert = alert(&[("a", &at.to_string())], 0, None);
        board.put_alert(alert.fingerprint(), Arc::new(alert), 1, time(0));
    }
    let tellings = board.due(time(1));
    drop(board);
    conductor.office = Some(Office::Leader(1));
    let entry = |telling: Telling| {
        let entry = Entry { record: telling.record.clone(), then: Some(telling.clone()) };
        (telling.id, entry)
    };
    let batch: Batch = tellings.into_iter().map(entry).collect();
    assert_eq!(batch.len(), groups);
    (conductor, batch)
}

#[tokio::test]
async fn what_is_refused_together_is_tried_one_by_one() {
    let (mut conductor, batch) = leader(3);
    conductor.written(batch, Outcome::Refused("too large".to_owned()));
    assert_eq!((conductor.queue.len(), conductor.singly, conductor.tasks.len()), (3, 3, 0));
    conductor.write(1);
    assert_eq!((conductor.queue.len(), conductor.singly), (2, 2));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_told_all_the_same() {
    let (mut conductor, batch) = leader(1);
    let id = batch.keys().next().unwrap().clone();
    conductor.written(batch, Outcome::Refused("too large".to_owned()));
    assert_eq!((conductor.queue.len(), conductor.tasks.len()), (0, 1));
    assert!(conductor.shared.board().unsaved.contains(&id));
    // Where the registry is silent, not at once.
    let (mut conductor, batch) = leader(1);
    conductor.written(batch, Outcome::Unknown("no answer".to_owned()));
    assert_eq!((conductor.queue.len(), conductor.tasks.len()), (1, 0));
    let batch = std::mem::take(&mut conductor.queue);
    conductor.failing_since = Instant::now().checked_sub(WRITE_PATIENCE);
    conductor.written(batch, Outcome::Unknown("no answer".to_owned()));
    assert_eq!((conductor.queue.len(), conductor.tasks.len()), (0, 1));
}

#[tokio::test]
async fn a_batch_has_a_size() {
    let (mut conductor, mut batch) = leader(3);
    for entry in batch.values_mut() {
        entry.record.firing = (0..30_000).collect();
    }
    conductor.queue = batch;
    conductor.write(1);
    assert_eq!(conductor.queue.len(), 2, "two of them have more than a megabyte");
}

/// Else the next leader finds it pending, and tells it once more.
#[tokio::test]
async fn a_reload_does_not_forget_what_was_told() {
    let (mut conductor, batch) = leader(1);
    let (id, entry) = batch.into_iter().next().unwrap();
    conductor.told(&entry.then.unwrap(), Ok(()));
    assert_eq!(conductor.queue.len(), 1);
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    let is_sent = |conductor: &Conductor| {
        let record = conductor.queue.get(&id).map(|entry| &entry.record);
        record.is_some_and(|record| record.state == watchkeep_catalog::NotificationState::Sent)
    };
    assert!(is_sent(&conductor));
    let written = std::mem::take(&mut conductor.queue);
    conductor.written(written, Outcome::Applied);
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    assert!(!is_sent(&conductor), "the registry has it");
}

/// A mail that is on its way is not sent once more.
#[tokio::test]
async fn a_delivery_outlives_a_reload() {
    let (mut conductor, batch) = leader(1);
    let (id, entry) = batch.into_iter().next().unwrap();
    let telling = entry.then.unwrap();
    conductor.send(telling.clone(), false);
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    conductor.advance();
    let queued = (conductor.queue.len(), conductor.writing);
    assert_eq!((conductor.tasks.len(), queued), (1, (0, false)), "it is being told");
    conductor.done(Done::Told(Box::new(telling), Ok(())));
    let record = &conductor.queue[&id].record;
    assert_eq!(record.state, watchkeep_catalog::NotificationState::Sent);
    assert!(conductor.running.is_empty() && conductor.shared.board().under_way.is_empty());
}

/// Where it would go is not where the new configuration says.
#[tokio::test]
async fn a_delivery_by_a_way_that_has_changed_begins_anew() {
    let (mut conductor, batch) = leader(1);
    let (id, entry) = batch.into_iter().next().unwrap();
    conductor.send(entry.then.unwrap(), false);
    let other: crate::AlertmanagerConfig =
        serde_saphyr::from_str(&YAML.replace("127.0.0.1:1", "127.0.0.1:2")).unwrap();
    let plan = Arc::new(Plan::new(other).unwrap());
    conductor.shared.board_mut().replan(plan).unwrap();
    conductor.take_office(Some(1));
    assert!(conductor.running.is_empty());
    let tellings = conductor.shared.board_mut().due(clock::now());
    let again: Vec<_> = tellings.iter().map(|telling| (&telling.id, &telling.record)).collect();
    assert_eq!(again, [(&id, &entry.record)], "the same, under the same key");
}

/// What was being written when the configuration changed is not told by the old one.
#[tokio::test]
async fn what_an_earlier_configuration_wrote_is_looked_at_anew() {
    let (mut conductor, batch) = leader(1);
    conductor.writing = true;
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    conductor.done(Done::Written(0, batch, Outcome::Applied));
    assert!(conductor.running.is_empty() && !conductor.writing);
    conductor.advance();
    assert!(conductor.writing, "it is written and told by the new one");
}

#[tokio::test]
async fn what_is_on_its_way_has_an_age() {
    let (mut conductor, batch) = leader(2);
    assert_eq!(conductor.oldest(time(100)), Duration::ZERO);
    // Decided at the first second.
    conductor.queue = batch;
    assert_eq!(conductor.oldest(time(100)), Duration::from_secs(99));
    let (_, entry) = conductor.queue.pop_first().unwrap();
    conductor.queue.clear();
    conductor.send(entry.then.unwrap(), false);
    assert_eq!(conductor.oldest(time(301)), Duration::from_mins(5));
}
