//! The registry is lost, and back: the alert that says so, what rules find meanwhile, and what goes into the registry of what
//! this node told by itself.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use watchkeep_catalog::{
    Alert, AlertSource, Client, ClientError, Notification, NotificationState, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{board::Board, intake, shared::Shared};
use crate::{
    alone, clock,
    context::Context,
    lost::{Ear, Heard},
};

/// Alerts of rules that are written when the registry is back; more are told only.
const FOUND_MAX: usize = 50_000;

/// Listens whether the registry is there, and acts on it, until `token` is cancelled.
pub(super) async fn heed(shared: Arc<Shared>, mut ear: Ear, token: CancellationToken) {
    let mut alert: Option<Alert> = None;
    loop {
        let heard = tokio::select! {
            () = token.cancelled() => return,
            heard = ear.beat(&shared.context) => heard,
        };
        let Heard { answered, lost, alarming } = heard;
        let now = clock::now();
        if alarming && alert.is_none() {
            let begun = begun(&shared.context, &ear, now);
            shared.board_mut().put_unsaved(begun.fingerprint(), Arc::new(begun.clone()), now);
            alert = Some(begun);
        }
        // On the board before this node's office ends, so that whoever leads next sees it.
        let over = alert.take_if(|_| !lost).map(|begun| over(begun, now));
        if let Some(over) = &over {
            put_over(&shared, over, now);
        }
        let is_news = shared.set_lost(lost);
        if is_news {
            shared.context.metrics.registry_lost.set(i64::from(lost));
            match lost {
                true => {
                    warn!("the registry is lost: this node tells people by itself what it knows");
                }
                false => info!("the registry is back"),
            }
        }
        if lost || is_news {
            shared.wake.notify_one();
        }
        if is_news && !lost {
            hand_over(&shared).await;
        }
        if answered {
            intake::save(&shared).await;
            save_found(&shared).await;
        }
        if is_news && !lost {
            alone::back(&shared.context, now).await;
        }
    }
}

/// Alerts of rules that a node has told of by itself, by fingerprint.
pub(crate) type Found = HashMap<u64, Standing>;

/// How such an alert stands to the registry.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// The registry has it at this revision as over, or (0) not at all.
    New(Arc<Alert>, i64),
    /// It fires there, so, at this revision; whoever leads next ends it.
    Known(Arc<Alert>, i64),
}

/// The alerts of rules that fire.
pub(super) fn told_by_rules(board: &Board, now: Time) -> Vec<Arc<Alert>> {
    let alerts = board.alerts.values().map(|kept| &kept.alert);
    let of_rules = alerts.filter(|a| a.source == AlertSource::Rule && !a.is_resolved(now));
    of_rules.cloned().collect()
}

/// Puts what rules found on the board, while the registry is lost.
pub(super) fn tell(shared: &Shared, alerts: Vec<Alert>, now: Time) {
    let (mut found, mut board) = (shared.found(), shared.board_mut());
    if !shared.is_lost() {
        return;
    }
    for alert in alerts {
        let (fingerprint, alert) = (alert.fingerprint(), Arc::new(alert));
        let is_full = found.len() >= FOUND_MAX;
        match found.get_mut(&fingerprint) {
            Some(Standing::New(last, _)) => *last = Arc::clone(&alert),
            Some(Standing::Known(..)) => {}
            None if is_full => {}
            None => {
                let known = board.alerts.get(&fingerprint);
                let standing = match known.filter(|k| k.revision > 0 && !k.alert.is_resolved(now)) {
                    Some(known) => Standing::Known(Arc::clone(&known.alert), known.revision),
                    None => Standing::New(Arc::clone(&alert), known.map_or(0, |k| k.revision)),
                };
                found.insert(fingerprint, standing);
            }
        }
        board.put_unsaved(fingerprint, alert, now);
    }
    drop((found, board));
    shared.wake.notify_one();
}

/// What fired in the registry is on the board as it is there; what is new goes there, unless somebody was faster. It ends by
/// itself where no leader finds it, too.
async fn save_found(shared: &Shared) {
    let found = std::mem::take(&mut *shared.found());
    let now = clock::now();
    for (fingerprint, standing) in found {
        let (alert, revision) = match standing {
            Standing::New(alert, revision) => (alert, revision),
            Standing::Known(before, revision) => {
                let mut board = shared.board_mut();
                if board.alerts.get(&fingerprint).is_some_and(|kept| kept.revision == revision) {
                    board.put_unsaved(fingerprint, before, now);
                }
                continue;
            }
        };
        let key = keys::alert(fingerprint);
        let Ok(put) = Op::put_json(&key, &*alert) else { continue };
        let txn = Txn::new().when(Compare::mod_revision(&key, revision)).then(put);
        match shared.client.txn(txn).await {
            Ok(outcome) if outcome.succeeded => {
                shared.board_mut().put_alert(fingerprint, alert, outcome.revision, now);
            }
            Ok(_) => {}
            Err(error) => {
                warn!(%error, "an alert that was told without the registry is not written");
            }
        }
    }
}

/// This node has lost the registry.
fn begun(context: &Context, ear: &Ear, now: Time) -> Alert {
    let (labels, annotations) = alone::loss(context, ear.lost_after());
    Alert {
        labels,
        annotations,
        starts_at: now,
        ends_at: None,
        updated_at: now,
        timeout: false,
        generator_url: String::new(),
        source: AlertSource::Api,
    }
}

/// It has it again.
fn over(begun: Alert, now: Time) -> Alert {
    Alert { ends_at: Some(now), updated_at: now, ..begun }
}

/// The end goes into the registry, the beginning never did: who leads next has to tell it where this node told the
/// beginning.
fn put_over(shared: &Shared, over: &Alert, now: Time) {
    let (fingerprint, over) = (over.fingerprint(), Arc::new(over.clone()));
    shared.board_mut().put_unsaved(fingerprint, Arc::clone(&over), now);
    let mut unsaved = shared.unsaved.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    unsaved.insert(fingerprint, over);
}

/// What this node told by itself goes into the registry where that knows nothing as new: whoever leads does not tell it
/// again, and tells how it ends.
async fn hand_over(shared: &Shared) {
    let told = shared.board().unwritten();
    let sent = told.into_iter().filter(|(_, record)| record.state == NotificationState::Sent);
    for (id, record) in sent {
        match put_if_newer(&shared.client, &id, &record).await {
            Ok(Some(revision)) => shared.board_mut().saved(&id, &record, revision),
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "it is not written down what was told without the registry: it may be told again");
                return;
            }
        }
    }
}

/// The revision at which it is there; none where something newer is.
async fn put_if_newer(
    client: &Client,
    id: &str,
    record: &Notification,
) -> Result<Option<i64>, ClientError> {
    let key = keys::notification(id);
    let known = client.get(&key).await?;
    let (revision, sequence) = known.map_or((0, 0), |kv| {
        let known = kv.json::<Notification>();
        (kv.mod_revision, known.map_or(0, |known| known.sequence))
    });
    if sequence >= record.sequence {
        return Ok(None);
    }
    let txn = Txn::new().when(Compare::mod_revision(&key, revision));
    let outcome = client.txn(txn.then(Op::put_json(&key, record)?)).await?;
    Ok(outcome.succeeded.then_some(outcome.revision))
}

#[cfg(test)]
mod tests {
    use super::{Standing::New, *};
    use crate::{
        alertmanager::{
            fixtures::{alert, shared, shared_with},
            notify::tests::sink,
        },
        fixtures::time,
        incident::Finding,
        oncall::{Changes, put_change},
    };

    const YAML: &str = r#"
route: {receiver: r, group_by: [alertname], group_wait: 0s, group_interval: 5m}
receivers: [{name: r, webhook_configs: [{url: "http://127.0.0.1:1/"}]}]
"#;

    #[tokio::test]
    async fn the_loss_is_told_and_so_is_its_end_by_whoever_leads_then() {
        let shared = shared(YAML);
        let alert = begun(&shared.context, &Ear::new(3), time(0));
        assert_eq!(alert.labels["alertname"], "WatchkeepRegistryLost");
        assert_eq!(alert.labels["instance"], "n1.example.org:80");
        let runbook = "http://n1.example.org/runbooks/WatchkeepRegistryLost";
        assert_eq!(alert.annotations["runbook_url"], runbook);
        let mut board = shared.board_mut();
        board.put_unsaved(alert.fingerprint(), Arc::new(alert.clone()), time(0));
        board.begin(time(0));
        let told = board.due(time(1));
        let [telling] = &told[..] else { panic!("{told:?}") };
        assert!(!telling.alerts[0].resolved);
        board.finish(telling, true, time(1));
        board.unsaved.insert(telling.id.clone());
        drop(board);
        put_over(&shared, &over(alert, time(60)), time(60));
        let mut board = shared.board_mut();
        // Another office, whose groups begin anew.
        board.end();
        board.begin(time(61));
        let told = board.due(time(301));
        let [telling] = &told[..] else { panic!("{told:?}") };
        assert!(telling.alerts.iter().all(|shown| shown.resolved));
        drop(board);
        assert_eq!(shared.unsaved.read().unwrap().len(), 1, "it is to be written");
    }

    /// What the registry knows as firing is not changed there, and is on the board as it was when that is back.
    #[tokio::test]
    async fn what_rules_find_without_the_registry_is_told_and_ends_by_itself() {
        let shared = shared(YAML);
        let rule = |name: &str, ends: Option<i64>| Alert {
            source: AlertSource::Rule,
            ..alert(&[("alertname", name)], 0, ends)
        };
        let (known, new) = (rule("Known", None), rule("New", Some(300)));
        let known_at = known.fingerprint();
        shared.board_mut().put_alert(known_at, Arc::new(known.clone()), 7, time(0));
        tell(&shared, vec![new.clone()], time(10));
        assert_eq!(shared.board().alerts.len(), 1, "it is not lost");
        shared.set_lost(true);
        assert_eq!(told_by_rules(&shared.board(), time(10)).len(), 1);
        tell(&shared, vec![rule("Known", Some(300)), new.clone()], time(10));
        let ends = |at: u64| shared.board().alerts[&at].alert.ends_at;
        assert_eq!((ends(known_at), ends(new.fingerprint())), (Some(time(300)), Some(time(300))));
        tell(&shared, vec![rule("New", Some(400))], time(110));
        shared.set_lost(false);
        let New(told, 0) = shared.found()[&new.fingerprint()].clone() else { panic!() };
        assert_eq!(told.ends_at, Some(time(400)));
        shared.found().remove(&new.fingerprint());
        save_found(&shared).await;
        assert_eq!(ends(known_at), None);
    }

    /// Whoever took a shift over is called, and hears the end of what no incident will ever be.
    #[tokio::test]
    async fn whoever_is_on_call_by_what_was_known_last_is_called_and_hears_the_end() {
        let (url, seen) = sink(axum::http::StatusCode::OK).await;
        let config = serde_json::json!({
            "people": [{"name": "alice", "webhook": format!("{url}/alice")},
                       {"name": "bob", "webhook": format!("{url}/bob")}],
            "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05",
                           "rotation": ["alice"]}],
            "pages": {"schedule": "primary"},
        });
        let shared = shared_with(YAML, &serde_json::from_value(config).unwrap());
        let context = &shared.context;
        let change = serde_json::json!({
            "id": "c-1", "schedule": "primary", "from": time(0), "to": time(3_600),
            "kind": "override", "person": "bob", "by": "alice", "decided_at": time(0),
        });
        let mut changes = Changes::new();
        put_change(&mut changes, serde_json::from_value(change).unwrap());
        context.alone.learn(&changes);
        let (labels, details) = alone::loss(context, std::time::Duration::from_secs(5));
        let finding = Finding {
            dedup_key: "k".to_owned(),
            title: details["summary"].clone(),
            alert: alone::REGISTRY_LOST.to_owned(),
            severity: "critical".to_owned(),
            labels,
            details,
            source: "watchkeep".to_owned(),
            escalation: None,
            started_at: time(0),
        };
        assert!(alone::call(context, "key-1", &finding, time(1)).await);
        alone::back(context, time(60)).await;
        alone::back(context, time(61)).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let told: Vec<_> =
            seen.iter().map(|(at, _, body)| (&**at, body["status"].as_str())).collect();
        assert_eq!(told, [("/bob", Some("firing")), ("/bob", Some("resolved"))]);
        let summary = seen[0].2["commonAnnotations"]["summary"].as_str().unwrap();
        assert_eq!(summary, "n1 has lost the registry (you may be told twice)");
    }
}
