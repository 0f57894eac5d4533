//! Which targets there are, as the catalog tells it. Pure: changes in, effects out.
//!
//! A record that does not decode, or breaks a rule, changes nothing: what was known of its instance before
//! is probed on, and the record is counted until it is repaired or deleted.

use std::{collections::BTreeMap, sync::Arc};

use watchkeep_catalog::{CheckPool, Instance, KeyValue, client::Change, keys};

use crate::target::{Target, TargetId};

/// What has to happen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// There is no such check any more, or `gone` is false and a start of the same id follows.
    Stop { id: TargetId, gone: bool },
    /// A check that is new or another than before.
    Start(Arc<Target>),
    /// Tell the operator, once.
    Invalid { key: String, message: String },
}

/// The targets of one instance, by the names of their checks.
type OfInstance = Box<[Arc<Target>]>;

/// All instances by key.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: BTreeMap<String, OfInstance>,
    /// Of all instances together.
    len: usize,
    pool: CheckPool,
    invalid: BTreeMap<String, String>,
}

impl Targets {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.known.values().flatten()
    }

    /// Records that are not taken.
    pub(crate) fn invalid(&self) -> usize {
        self.invalid.len()
    }

    /// Whether any target has this service and check.
    pub(crate) fn has(&self, service: &str, check: &str) -> bool {
        let prefix = keys::instances_of(service);
        let of_service = self.known.range(prefix.clone()..);
        of_service
            .take_while(|(key, _)| key.starts_with(&prefix))
            .any(|(_, targets)| find(targets, check).is_some())
    }

    pub(crate) fn apply(&mut self, change: Change) -> Vec<Effect> {
        let mut effects = Vec::new();
        match change {
            Change::Put(kv) => self.put(&kv, &mut effects),
            Change::Delete { key, .. } => self.delete(&key, &mut effects),
            Change::Reset(kvs, _) => {
                let there = |key: &String| kvs.binary_search_by(|kv| kv.key.cmp(key)).is_ok();
                let known = self.known.keys().chain(self.invalid.keys());
                let gone: Vec<_> = known.filter(|key| !there(key)).cloned().collect();
                gone.iter().for_each(|key| self.delete(key, &mut effects));
                kvs.iter().for_each(|kv| self.put(kv, &mut effects));
            }
        }
        effects
    }

    fn put(&mut self, kv: &KeyValue, effects: &mut Vec<Effect>) {
        match read(kv) {
            Ok(mut instance) => {
                self.invalid.remove(&kv.key);
                self.pool.share(&mut instance.checks);
                let mut targets: OfInstance = Target::of(&instance).collect();
                targets.sort_by(|a, b| a.id.check.cmp(&b.id.check));
                self.replace(&kv.key, targets, effects);
            }
            Err(message) => {
                if self.invalid.get(&kv.key) != Some(&message) {
                    self.invalid.insert(kv.key.clone(), message.clone());
                    effects.push(Effect::Invalid { key: kv.key.clone(), message });
                }
            }
        }
    }

    fn delete(&mut self, key: &str, effects: &mut Vec<Effect>) {
        self.invalid.remove(key);
        self.replace(key, OfInstance::default(), effects);
    }

    fn replace(&mut self, key: &str, mut now: OfInstance, effects: &mut Vec<Effect>) {
        let before = self.known.remove(key).unwrap_or_default();
        for target in &before {
            let other = find(&now, &target.id.check);
            if other != Some(target) {
                effects.push(Effect::Stop { id: target.id.clone(), gone: other.is_none() });
            }
        }
        for target in &mut now {
            match find(&before, &target.id.check).filter(|known| *known == target) {
                // It is probed already: not to be kept twice.
                Some(known) => target.clone_from(known),
                None => effects.push(Effect::Start(target.clone())),
            }
        }
        self.len = self.len - before.len() + now.len();
        if !now.is_empty() {
            self.known.insert(key.to_owned(), now);
        }
    }
}

fn find<'a>(targets: &'a [Arc<Target>], check: &str) -> Option<&'a Arc<Target>> {
    let at = targets.binary_search_by(|target| target.id.check.as_str().cmp(check)).ok()?;
    Some(&targets[at])
}

/// The instance at a key, with the service that the key says if the record says none.
pub(crate) fn read(kv: &KeyValue) -> Result<Instance, String> {
    let segments = keys::segments(&kv.key, keys::INSTANCES);
    let Some([service, id]) = segments.as_deref() else {
        return Err(format!("the key is not {}{{service}}/{{instance}}", keys::INSTANCES));
    };
    let mut instance: Instance = serde_json::from_slice(&kv.value)
        .map_err(|e| format!("the record does not decode: {e}"))?;
    if instance.service.is_empty() {
        (*service).clone_into(&mut instance.service);
    }
    if (instance.service.as_str(), instance.id.as_str()) != (*service, *id) {
        let (service, id) = (&instance.service, &instance.id);
        return Err(format!(
            "the record says service {service:?}, id {id:?}: they differ from its key"
        ));
    }
    instance.validate().map_err(|e| e.to_string())?;
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: format!("{}{key}", keys::INSTANCES),
            value: value.to_owned().into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        }
    }

    fn instance(id: &str, port: u16, checks: &[(&str, u64)]) -> String {
        let checks = checks
            .iter()
            .map(|(name, ms)| format!(r#"{{"name":"{name}","interval_ms":{ms},"tcp":{{}}}}"#));
        let checks = checks.collect::<Vec<_>>().join(",");
        format!(
            r#"{{"id":"{id}","address":"::1","port":{port},"weight":{port},"checks":[{checks}]}}"#
        )
    }

    fn text(effects: &[Effect]) -> String {
        let one = |effect: &Effect| match effect {
            Effect::Stop { id, gone } => {
                format!(
                    "{}{}/{}/{}",
                    if *gone { "-" } else { "~" },
                    id.service,
                    id.instance,
                    id.check
                )
            }
            Effect::Start(t) => format!("+{}/{}/{}", t.id.service, t.id.instance, t.id.check),
            Effect::Invalid { message, .. } => format!("!{message}"),
        };
        effects.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_what_changed_is_restarted() {
        let mut targets = Targets::default();
        let mut put = |key: &str, value: &str| text(&targets.apply(Change::Put(kv(key, value))));
        assert_eq!(put("web/a", &instance("a", 1, &[("x", 50), ("y", 50)])), "+web/a/x +web/a/y");
        assert_eq!(put("web/a", &instance("a", 1, &[("x", 50), ("y", 50)])), "");
        assert_eq!(put("web/a", &instance("a", 1, &[("x", 51), ("y", 50)])), "~web/a/x +web/a/x");
        assert_eq!(put("web/a", &instance("a", 1, &[("x", 51), ("z", 50)])), "-web/a/y +web/a/z");
        assert_eq!(
            put("web/a", &instance("a", 2, &[("x", 51), ("z", 50)])),
            "~web/a/x ~web/a/z +web/a/x +web/a/z"
        );
        assert_eq!(put("web/b", &instance("b", 2, &[("z", 50)])), "+web/b/z");
        assert_eq!(
            (targets.len(), targets.has("web", "z"), targets.has("we", "z")),
            (3, true, false)
        );
        let reset = vec![
            kv("db/a", &instance("a", 1, &[("x", 50)])),
            kv("web/b", &instance("b", 2, &[("z", 50)])),
        ];
        assert_eq!(text(&targets.apply(Change::Reset(reset, 9))), "-web/a/x -web/a/z +db/a/x");
        let delete = Change::Delete { key: kv("web/b", "").key, revision: 10 };
        assert_eq!(text(&targets.apply(delete)), "-web/b/z");
        assert_eq!((targets.len(), targets.has("web", "z")), (1, false));
    }

    #[test]
    fn what_is_equal_is_kept_once() {
        let mut targets = Targets::default();
        let mut put = |id: &str| -> Vec<Arc<Target>> {
            let record = instance(id, 1, &[("y", 50), ("x", 50)]);
            targets.apply(Change::Put(kv(&format!("web/{id}"), &record)));
            targets.iter().cloned().collect()
        };
        put("a");
        let (before, after) = (put("b"), put("a"));
        assert!(before.iter().zip(&after).all(|(before, after)| Arc::ptr_eq(before, after)));
        let checks: Vec<_> = after.iter().map(|target| target.id.check.as_str()).collect();
        assert_eq!(checks, ["x", "y", "x", "y"]);
        assert!(Arc::ptr_eq(&after[0].check, &after[2].check));
        assert!(Arc::ptr_eq(&after[1].check, &after[3].check));
    }

    #[test]
    fn what_is_malformed_changes_nothing_and_is_told_once() {
        let mut targets = Targets::default();
        targets.apply(Change::Put(kv("web/a", &instance("a", 1, &[("x", 50)]))));
        for (key, value, told) in [
            (
                "web/a",
                "{",
                "!the record does not decode: EOF while parsing an object at line 1 column 1",
            ),
            ("web/a", "{", ""),
            (
                "web/a",
                &instance("b", 1, &[]),
                "!the record says service \"web\", id \"b\": they differ from its key",
            ),
            (
                "web/a",
                &instance("a", 1, &[("x", 5)]),
                "!check \"x\": interval_ms is 5: give 10 to 86400000",
            ),
            ("web", "{}", "!the key is not /watchkeep/instances/{service}/{instance}"),
        ] {
            assert_eq!(text(&targets.apply(Change::Put(kv(key, value)))), told);
        }
        assert_eq!((targets.len(), targets.invalid()), (1, 2));
        let repaired = Change::Put(kv("web/a", &instance("a", 1, &[("x", 50)])));
        assert_eq!(text(&targets.apply(repaired)), "");
        assert_eq!(targets.invalid(), 1);
        assert_eq!(text(&targets.apply(Change::Reset(vec![], 9))), "-web/a/x");
        assert_eq!(targets.invalid(), 0);
    }
}
