//! What the rules of this node find while the registry is lost, where no Alertmanager tells it: whoever is on call is called,
//! once for each alert that fires and was not told before, and hears its end. [`Desk`] decides, and is pure.
//!
//! ```text
//! an evaluation ─what fires─▶ desk ─due─▶ calls, side by side ─reached or not─▶ desk
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use watchkeep_catalog::{Alert, LabelSet};

use super::{AGAIN, REGISTRY_LOST, SEVERITY, call, over};
use crate::{
    clock,
    context::Context,
    incident::{Finding, WATCHKEEP},
};

/// How the keys of such calls begin.
pub(super) const KEYS: &str = "alert/";
/// Stands for all alerts beyond [`CALLS_MAX`].
const MORE: &str = "alert/more";
/// Alerts that people are called for one by one until the registry is back.
const CALLS_MAX: usize = 20;
/// Whom nobody was reached for is looked for so often.
const TICK: Duration = Duration::from_secs(1);

/// What was known when the registry was lost.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The alerts of rules that fire.
    pub(crate) alerts: Vec<Arc<Alert>>,
    /// Fingerprints of those whose incidents people know: nobody is called for them again.
    pub(crate) told: BTreeSet<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Step {
    Call(String, Box<Finding>),
    End(String),
}

/// How it stands with the call for an alert.
#[derive(Debug, PartialEq)]
enum Standing {
    UnderWay,
    /// Nobody was reached: again then.
    Waiting(Instant),
    Called,
    Over,
}

/// What fires, and whom it was told.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// By group's id.
    firing: BTreeMap<String, Vec<Finding>>,
    /// By key.
    calls: BTreeMap<String, Standing>,
}

/// The same for as long as it fires.
fn key(finding: &Finding) -> String {
    format!("{}/{}", finding.dedup_key, finding.started_at.timestamp())
}

impl Desk {
    /// What is due. `more` makes what people are told of so many alerts more.
    fn due(&mut self, now: Instant, more: impl FnOnce(usize) -> Finding) -> Vec<Step> {
        let firing: BTreeMap<String, &Finding> =
            self.firing.values().flatten().map(|finding| (key(finding), finding)).collect();
        let (mut steps, mut beyond) = (Vec::new(), 0);
        for (key, finding) in &firing {
            let is_known = self.calls.contains_key(key);
            if !is_known && self.calls.len() >= CALLS_MAX {
                beyond += 1;
            } else if begins(&mut self.calls, key, now) {
                steps.push(Step::Call(key.clone(), Box::new((*finding).clone())));
            }
        }
        if beyond > 0 && begins(&mut self.calls, MORE, now) {
            steps.push(Step::Call(MORE.to_owned(), Box::new(more(beyond))));
        }
        let gone = self.calls.iter_mut();
        for (key, standing) in gone.filter(|(key, _)| *key != MORE && !firing.contains_key(*key)) {
            match standing {
                Standing::Called => steps.push(Step::End(key.clone())),
                Standing::Waiting(_) => {}
                Standing::UnderWay | Standing::Over => continue,
            }
            *standing = Standing::Over;
        }
        steps
    }

    /// A call has ended; whether it is still asked for.
    fn done(&mut self, key: &str, reached: bool, now: Instant) -> bool {
        let Some(standing) = self.calls.get_mut(key) else { return false };
        *standing = if reached { Standing::Called } else { Standing::Waiting(now + AGAIN) };
        true
    }
}

/// Whether a call begins now; then it is under way.
fn begins(calls: &mut BTreeMap<String, Standing>, key: &str, now: Instant) -> bool {
    let is_due = match calls.get(key) {
        None => true,
        Some(Standing::Waiting(at)) => *at <= now,
        Some(_) => false,
    };
    if is_due {
        calls.insert(key.to_owned(), Standing::UnderWay);
    }
    is_due
}

impl super::Alone {
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These alerts of a group fire, and no others. Forgotten where the registry is there again.
    pub(crate) fn fires(&self, group: &str, findings: Vec<Finding>) {
        let mut desk = self.desk();
        if *self.lost.borrow() {
            desk.firing.insert(group.to_owned(), findings);
            drop(desk);
            self.news.notify_one();
        }
    }

    /// There are these groups, and no others.
    pub(crate) fn groups(&self, ids: &BTreeSet<String>) {
        self.desk().firing.retain(|group, _| ids.contains(group));
    }

    /// The registry is there again, or lost anew.
    pub(super) fn clear(&self) {
        *self.desk() = Desk::default();
    }
}

/// Calls, and tells ends, for ever.
pub(super) async fn serve(context: &Arc<Context>) {
    let mut tasks: JoinSet<Option<(String, bool)>> = JoinSet::new();
    loop {
        tokio::select! {
            () = context.alone.news.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            Some(done) = tasks.join_next() => if let Ok(Some((key, reached))) = done {
                let is_asked_for = context.alone.desk().done(&key, reached, Instant::now());
                if reached && !is_asked_for {
                    end(&mut tasks, context, key, BACK);
                }
            },
        }
        let steps = context.alone.desk().due(Instant::now(), |count| more(context, count));
        for step in steps {
            match step {
                Step::Call(key, finding) => {
                    let context = Arc::clone(context);
                    tasks.spawn(async move {
                        let reached = call(&context, &key, &finding, clock::now()).await;
                        Some((key, reached))
                    });
                }
                Step::End(key) => end(&mut tasks, context, key, "it does not fire any more"),
            }
        }
    }
}

/// Why people who were called for an alert hear of an end when the registry is back.
pub(super) const BACK: &str = "the registry is back: what still fires is told anew";

fn end(
    tasks: &mut JoinSet<Option<(String, bool)>>,
    context: &Arc<Context>,
    key: String,
    why: &'static str,
) {
    let context = Arc::clone(context);
    tasks.spawn(async move {
        over(&context, &key, why, clock::now()).await;
        None
    });
}

fn more(context: &Context, count: usize) -> Finding {
    let title = format!("{count} more alerts fire than people are called for one by one");
    let look = format!("Look at {}/api/v1/alerts", context.node_url);
    Finding {
        dedup_key: MORE.to_owned(),
        title,
        alert: REGISTRY_LOST.to_owned(),
        severity: SEVERITY.to_owned(),
        labels: LabelSet::from([("alertname".to_owned(), REGISTRY_LOST.to_owned())]),
        details: LabelSet::from([("description".to_owned(), look)]),
        source: WATCHKEEP.to_owned(),
        escalation: None,
        started_at: clock::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    fn finding(name: &str, at: i64) -> Finding {
        Finding {
            dedup_key: format!("alert/{name}"),
            title: name.to_owned(),
            alert: name.to_owned(),
            severity: SEVERITY.to_owned(),
            labels: LabelSet::new(),
            details: LabelSet::new(),
            source: "alert".to_owned(),
            escalation: None,
            started_at: time(at),
        }
    }

    fn due(desk: &mut Desk, now: Instant) -> Vec<String> {
        let steps = desk.due(now, |count| finding(&count.to_string(), 0));
        let words = steps.into_iter().map(|step| match step {
            Step::Call(_, finding) => format!("call {}", finding.title),
            Step::End(key) => format!("end {key}"),
        });
        words.collect()
    }

    #[test]
    fn each_alert_is_told_once_and_its_end() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.firing.insert("g".to_owned(), vec![finding("a", 1)]);
        let a = key(&finding("a", 1));
        assert_eq!(due(&mut desk, now), ["call a"]);
        assert_eq!(due(&mut desk, now), [""; 0], "it is under way");
        // Nobody was reached.
        assert!(desk.done(&a, false, now));
        assert_eq!(due(&mut desk, now), [""; 0]);
        assert_eq!(due(&mut desk, now + AGAIN), ["call a"]);
        assert!(desk.done(&a, true, now + AGAIN));
        assert_eq!(due(&mut desk, now + AGAIN * 9), [""; 0]);
        desk.firing.insert("g".to_owned(), vec![]);
        assert_eq!(due(&mut desk, now + AGAIN * 9), [format!("end {a}")]);
        assert_eq!(due(&mut desk, now + AGAIN * 9), [""; 0]);
        // It fires anew.
        desk.firing.insert("g".to_owned(), vec![finding("a", 600)]);
        assert_eq!(due(&mut desk, now + AGAIN * 9), ["call a"]);
        // It is over before anybody was reached: whoever was, hears of it all the same.
        desk.firing.clear();
        assert_eq!(due(&mut desk, now + AGAIN * 9), [""; 0]);
        let again = key(&finding("a", 600));
        assert!(desk.done(&again, true, now + AGAIN * 9));
        assert_eq!(due(&mut desk, now + AGAIN * 9), [format!("end {again}")]);
        desk = Desk::default();
        assert!(!desk.done(&a, true, now), "nobody asks any more");
    }

    #[test]
    fn a_storm_is_one_call_beyond_the_first_ones() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let many = |count: usize| (0..count).map(|n| finding(&format!("{n:03}"), 1)).collect();
        desk.firing.insert("g".to_owned(), many(CALLS_MAX + 30));
        let told = due(&mut desk, now);
        assert_eq!((told.len(), told.last().unwrap().as_str()), (CALLS_MAX + 1, "call 30"));
        desk.firing.insert("h".to_owned(), vec![finding("x", 2)]);
        assert_eq!(due(&mut desk, now + AGAIN), [""; 0]);
    }
}
