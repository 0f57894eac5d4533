//! A leader whose registry refuses, is silent, or is read anew.

use tokio::sync::oneshot;

use super::{
    batch::{WRITE_PATIENCE, WRITES_MAX},
    *,
};
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
    board.revision = 1;
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
    conductor.written(written, Outcome::Applied(2));
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
    let queued = (conductor.queue.len(), conductor.writes);
    assert_eq!((conductor.tasks.len(), queued), (1, (0, 0)), "it is being told");
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
    conductor.writes = 1;
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    conductor.done(Done::Written(0, batch, Outcome::Applied(2)));
    assert!(conductor.running.is_empty() && conductor.writes == 0);
    conductor.advance();
    assert_eq!(conductor.writes, 1, "it is written and told by the new one");
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

/// Before the watch shows the own election, the board may lack what the last leader told.
#[tokio::test]
async fn what_a_node_has_written_itself_does_not_put_it_into_office() {
    let mut conductor = Conductor::new(shared(YAML));
    let alert = alert(&[("a", "1")], 0, None);
    conductor.shared.board_mut().put_alert(alert.fingerprint(), Arc::new(alert), 9, time(0));
    conductor.take_office(Some(5));
    assert_eq!(conductor.office, None);
    conductor.shared.board_mut().revision = 5;
    conductor.take_office(Some(5));
    assert_eq!(conductor.office, Some(Office::Leader(5)));
}

/// A leader without anything to do, and an alert of the intake with whoever waits for it.
fn arriving(name: &str) -> (Conductor, Handover, oneshot::Receiver<()>) {
    let (conductor, _) = leader(0);
    let alert = alert(&[("a", name)], 0, None);
    let (done, written) = oneshot::channel();
    let alerts = vec![(alert.fingerprint(), Arc::new(alert))];
    (conductor, Handover { alerts, done }, written)
}

/// What is being written, without a registry that answers.
fn begin(conductor: &mut Conductor, handover: Handover) -> Arrival {
    let board = conductor.shared.board();
    let (at, epoch) = (time(1), board.epoch);
    let foreseen = board.foresee(&handover.alerts, at);
    drop(board);
    let ids: Vec<_> = foreseen
        .iter()
        .flat_map(|group| &group.tellings)
        .map(|telling| telling.id.clone())
        .collect();
    conductor.begin_write(ids);
    conductor.arriving = true;
    Arrival { handover, foreseen, epoch, at }
}

#[tokio::test]
async fn an_alert_and_what_is_told_of_it_are_one_transaction() {
    let (mut conductor, handover, written) = arriving("1");
    let (fingerprint, alert) = handover.alerts[0].clone();
    let arrival = begin(&mut conductor, handover);
    let [group] = &arrival.foreseen[..] else { panic!("one group") };
    let (id, record) = (group.tellings[0].id.clone(), group.tellings[0].record.clone());
    let text = format!("{:?}", arrival.txn(7).unwrap());
    for part in [
        "CreateRevision(7)",
        watchkeep_catalog::keys::ALERTING_LEADER,
        &watchkeep_catalog::keys::alert(fingerprint),
        &watchkeep_catalog::keys::notification(&id),
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part}: {text}");
    }
    // Nothing is decided before it is written, and nothing shows.
    conductor.advance();
    assert!(conductor.next_due().is_none() && conductor.shared.board().alerts.is_empty());
    conductor.done(Done::Arrived(Box::new(arrival), Some(5)));
    assert_eq!(written.await, Ok(()));
    assert!(conductor.running.contains_key(&id) && conductor.writes == 0);
    {
        let board = conductor.shared.board();
        let kept = &board.alerts[&fingerprint];
        assert_eq!((&kept.alert, kept.revision), (&alert, 5));
        assert_eq!((&board.log[&id].record, board.log[&id].revision), (&record, 5));
    }
    // It was the group's look: it is told once.
    conductor.advance();
    assert!(conductor.queue.is_empty() && conductor.writes == 0);
    assert_eq!(conductor.tasks.len(), 1);
}

/// Of a leader that is none any more, and of one that gets no answer: the intake writes the alert, and the board knows nothing.
#[tokio::test]
async fn what_is_not_written_together_is_left_to_the_intake() {
    let (mut conductor, handover, written) = arriving("1");
    conductor.arrive(handover);
    assert!(conductor.writes == 1 && conductor.arriving);
    // Nobody answers at the address of the registry.
    let done = conductor.tasks.join_next().await.unwrap().unwrap();
    assert!(matches!(done, Done::Arrived(_, None)));
    conductor.done(done);
    assert!(written.await.is_err());
    conductor.advance();
    let board = conductor.shared.board();
    assert!(board.alerts.is_empty() && board.log.is_empty() && board.under_way.is_empty());
    assert_eq!(board.groups.as_ref().unwrap().len(), 0);
    assert!(conductor.tasks.is_empty() && conductor.queue.is_empty() && conductor.writes == 0);
}

/// What is written later is later: of one group not two are written at once.
#[tokio::test]
async fn who_writes_the_same_or_does_not_lead_takes_no_alerts() {
    let prepare: [fn(&mut Conductor); 5] = [
        |conductor| conductor.writes = WRITES_MAX,
        |conductor| conductor.failing_since = Some(Instant::now()),
        |conductor| conductor.office = None,
        |conductor| conductor.office = Some(Office::Alone),
        // Of the same group.
        |conductor| conductor.queue = leader(2).1,
    ];
    for (at, prepare) in prepare.into_iter().enumerate() {
        let (mut conductor, handover, written) = arriving("1");
        prepare(&mut conductor);
        conductor.arrive(handover);
        assert!(written.await.is_err() && conductor.tasks.is_empty(), "{at}");
    }
}

/// The alerts are there; of what was foreseen the new configuration decides.
#[tokio::test]
async fn a_reload_while_alerts_arrive_tells_under_the_same_key() {
    let (mut conductor, handover, written) = arriving("1");
    let arrival = begin(&mut conductor, handover);
    let record = arrival.foreseen[0].tellings[0].record.clone();
    conductor.shared.reload().unwrap();
    conductor.take_office(Some(1));
    conductor.done(Done::Arrived(Box::new(arrival), Some(5)));
    assert_eq!(written.await, Ok(()));
    assert!(conductor.running.is_empty());
    let told: Vec<_> = conductor.shared.board_mut().due(clock::now());
    let told: Vec<_> = told.iter().map(|telling| &telling.record).collect();
    assert_eq!(told, [&record]);
}

/// Its alerts are the intake's again, and nothing of them is told by the other office.
#[tokio::test]
async fn another_office_leaves_what_arrives_to_the_intake() {
    let (mut conductor, handover, written) = arriving("1");
    conductor.arrive(handover);
    conductor.take_office(None);
    assert!(written.await.is_err());
    assert!(conductor.writes == 0 && !conductor.arriving);
    assert!(conductor.shared.board().alerts.is_empty());
}

/// More than one transaction can carry goes in several; of one record only one is under way.
#[tokio::test]
async fn much_is_written_at_once_and_of_one_record_in_order() {
    let (mut conductor, batch) = leader(3 * RECORDS_PER_TXN_MAX + 1);
    let ids: Vec<String> = batch.keys().cloned().collect();
    conductor.queue = batch;
    let advance = |conductor: &mut Conductor| {
        conductor.advance();
        (conductor.writes, conductor.queue.len(), conductor.writing.len())
    };
    // What is left is not worth another one.
    assert_eq!(advance(&mut conductor), (3, 1, 3 * RECORDS_PER_TXN_MAX));
    for id in &ids[..2 * RECORDS_PER_TXN_MAX] {
        let record = conductor.shared.board().log[id].record.clone();
        conductor.queue.insert(id.clone(), Entry { record, then: None });
    }
    assert_eq!(advance(&mut conductor).0, 4, "the one that is in none");
    assert_eq!(conductor.queue.len(), 2 * RECORDS_PER_TXN_MAX);
    // It comes back, and the next one carries what has come since.
    let written: Batch = ids[..RECORDS_PER_TXN_MAX]
        .iter()
        .map(|id| {
            let record = conductor.shared.board().log[id].record.clone();
            (id.clone(), Entry { record, then: None })
        })
        .collect();
    conductor.done(Done::Written(0, written, Outcome::Applied(2)));
    assert_eq!(advance(&mut conductor), (4, RECORDS_PER_TXN_MAX, 3 * RECORDS_PER_TXN_MAX + 1));
}
