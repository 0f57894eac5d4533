//! Handing a check over: the collector that owns it no more probes on and keeps its opinion until every owner has one, so
//! that a verdict is never short of opinions because somebody joined. Bounded: with or without them, its time ends.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tracing::debug;
use watchkeep_catalog::{Client, keys};

use crate::target::{Target, TargetId};

/// Between two askings whether the owners have opinions.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(500);
/// Checks asked about at a time; further ones have their turn when these are handed over.
const ASKED_MAX: usize = 10_000;
/// What an owner needs beyond its probes: to hear of its check, to probe it first, to write.
const SLACK: Duration = Duration::from_secs(5);
/// Longest wait, however slow the check.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The checks that are handed over, each with the time at which waiting ends (since the collector's epoch).
#[derive(Debug, Default)]
pub(crate) struct Handover {
    leaving: HashMap<TargetId, Duration>,
}

/// A check and the keys of the opinions without which it is not handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) id: TargetId,
    pub(crate) opinions: Vec<String>,
}

impl Handover {
    pub(crate) fn len(&self) -> usize {
        self.leaving.len()
    }

    pub(crate) fn is_leaving(&self, id: &TargetId) -> bool {
        self.leaving.contains_key(id)
    }

    /// Begins; an owner whose probes fail has an opinion after `fall` of them.
    pub(crate) fn begin(&mut self, target: &Target, now: Duration) {
        let check = &target.check;
        let probes = Duration::from_millis(check.interval_ms).saturating_mul(check.fall);
        let wait = probes + Duration::from_millis(check.timeout_ms) + SLACK;
        self.leaving.insert(target.id.clone(), now + wait.min(WAIT_MAX));
    }

    /// It is over: handed over, gone, or the collector's own again.
    pub(crate) fn end(&mut self, id: &TargetId) {
        self.leaving.remove(id);
    }

    /// Those whose time is over.
    pub(crate) fn late(&self, now: Duration) -> Vec<TargetId> {
        let late = self.leaving.iter().filter(|(_, until)| **until <= now);
        late.map(|(id, _)| id.clone()).collect()
    }

    /// What to ask; `owners` names those of a check.
    pub(crate) fn questions<'a>(
        &self,
        owners: impl Fn(&TargetId) -> Vec<&'a str>,
    ) -> Vec<Question> {
        let asked = self.leaving.keys().take(ASKED_MAX);
        asked
            .map(|id| Question {
                id: id.clone(),
                opinions: owners(id).iter().map(|owner| id.opinion_key(owner)).collect(),
            })
            .collect()
    }
}

/// The checks of which every owner has an opinion: one read of keys for each service.
pub(crate) async fn ask(client: Client, questions: Vec<Question>) -> Vec<TargetId> {
    let mut by_service = BTreeMap::<String, Vec<Question>>::new();
    for question in questions {
        by_service.entry(question.id.service.clone()).or_default().push(question);
    }
    let mut handed_over = Vec::new();
    for (service, questions) in by_service {
        let found = match client.list_keys(&keys::opinions_of(&service)).await {
            Ok(found) => found.into_iter().collect::<HashSet<_>>(),
            Err(error) => {
                debug!(service, %error, "opinions of other collectors are not known");
                continue;
            }
        };
        let done =
            questions.into_iter().filter(|q| q.opinions.iter().all(|key| found.contains(key)));
        handed_over.extend(done.map(|question| question.id));
    }
    handed_over
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::Check;

    use super::*;

    fn target(instance: &str, interval_ms: u64) -> Target {
        let check =
            format!(r#"{{"name":"http","interval_ms":{interval_ms},"fall":3,"http":{{}}}}"#);
        let check: Check = serde_json::from_str(&check).expect("a check");
        let id = TargetId::new("web", instance, "http");
        Target { id, address: "::1".into(), port: 1, check: check.into() }
    }

    #[test]
    fn waits_as_long_as_an_owner_may_take_to_form_an_opinion() {
        let mut handover = Handover::default();
        let (quick, slow) = (target("a", 1_000), target("b", 80_000_000));
        handover.begin(&quick, Duration::from_secs(100));
        handover.begin(&slow, Duration::from_secs(100));
        // 100 s, three intervals, the timeout of 2 s and 5 s.
        assert_eq!(handover.late(Duration::from_millis(109_999)), []);
        assert_eq!(handover.late(Duration::from_secs(110)), std::slice::from_ref(&quick.id));
        assert_eq!(handover.late(Duration::from_secs(400)).len(), 2);
        handover.end(&quick.id);
        assert!(!handover.is_leaving(&quick.id) && handover.is_leaving(&slow.id));
        let questions = handover.questions(|_| vec!["x", "y"]);
        let opinions = ["x", "y"].map(|owner| slow.id.opinion_key(owner)).to_vec();
        assert_eq!(questions, [Question { id: slow.id, opinions }]);
    }
}
