//! Silences, compiled: which of them hold for an alert. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use watchkeep_catalog::{AlertSilence, LabelSet, Time};

use super::matcher::{Matcher, Op, all_match};

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Active,
    Expired,
}

impl State {
    pub(crate) fn of(silence: &AlertSilence, now: Time) -> Self {
        if silence.ends_at <= now {
            Self::Expired
        } else if silence.starts_at > now {
            Self::Pending
        } else {
            Self::Active
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// What is written when a silence is set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) write: AlertSilence,
    /// The one it takes the place of, as it is then.
    pub(crate) expire: Option<AlertSilence>,
}

/// Sets a silence: a new one, or one in the place of `known`. What is another silence in truth (other matchers, another
/// begin of one that holds, one that ended) gets an id of its own, and the known one ends.
///
/// # Errors
/// What is wrong with it, in Alertmanager's words.
pub(crate) fn change(
    mut wanted: AlertSilence,
    known: Option<&AlertSilence>,
    now: Time,
    new_id: impl FnOnce() -> String,
) -> Result<Change, String> {
    check(&wanted, now)?;
    if let Some(known) = known {
        let state = State::of(known, now);
        let same = known.matchers == wanted.matchers
            && match state {
                // To the second, since clients cut what is finer.
                State::Active => known.starts_at.timestamp() == wanted.starts_at.timestamp(),
                State::Pending => wanted.starts_at >= now,
                State::Expired => false,
            };
        if same {
            if state == State::Active {
                wanted.starts_at = known.starts_at;
            }
            return Ok(Change { write: wanted, expire: None });
        }
        wanted.id = new_id();
        wanted.starts_at = wanted.starts_at.max(now);
        let expire = expired(known.clone(), now).ok();
        return Ok(Change { write: wanted, expire });
    }
    wanted.id = new_id();
    wanted.starts_at = wanted.starts_at.max(now);
    Ok(Change { write: wanted, expire: None })
}

fn check(silence: &AlertSilence, now: Time) -> Result<(), String> {
    if silence.starts_at >= silence.ends_at {
        return Err("Failed to create silence: start time must be before end time".to_owned());
    }
    if silence.ends_at < now {
        return Err("Failed to create silence: end time can't be in the past".to_owned());
    }
    if silence.matchers.is_empty() {
        return Err("silence invalid: at least one matcher required".to_owned());
    }
    let mut says_nothing = true;
    for (at, matcher) in silence.matchers.iter().enumerate() {
        if matcher.name.is_empty() {
            return Err(format!(
                "silence invalid: invalid label matcher {at}: invalid label name \"\""
            ));
        }
        let matcher = Matcher::of_record(matcher);
        let matcher =
            matcher.map_err(|e| format!("silence invalid: invalid label matcher {at}: {e}"))?;
        says_nothing &= matcher.matches_value("");
    }
    if says_nothing {
        return Err(
            "silence invalid: at least one matcher must not match the empty string".to_owned()
        );
    }
    Ok(())
}

/// As it is when it ends now.
///
/// # Errors
/// When it has ended already.
pub(crate) fn expired(mut silence: AlertSilence, now: Time) -> Result<AlertSilence, String> {
    match State::of(&silence, now) {
        State::Expired => return Err(format!("silence {} already expired", silence.id)),
        State::Pending => silence.starts_at = now,
        State::Active => {}
    }
    (silence.ends_at, silence.updated_at) = (now, now);
    Ok(silence)
}

#[derive(Debug)]
struct Compiled {
    record: AlertSilence,
    matchers: Vec<Matcher>,
    revision: i64,
}

impl Compiled {
    /// A label and its value without which it holds for nothing.
    fn anchor(&self) -> Option<(&str, &str)> {
        let equal = self.matchers.iter().find(|m| m.op == Op::Equal && !m.value.is_empty());
        equal.map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))
    }
}

/// All silences, by their ids; and by a label that they demand, since each alert that is told of is held against them.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    by_id: BTreeMap<String, Compiled>,
    by_label: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// Those that demand no label.
    others: BTreeSet<String>,
}

impl Silences {
    /// Enters one as of `revision`, unless a newer one is known.
    ///
    /// # Errors
    /// When a matcher cannot be read; then it holds for nothing.
    pub(crate) fn put(&mut self, record: AlertSilence, revision: i64) -> Result<(), String> {
        if self.by_id.get(&record.id).is_some_and(|known| known.revision > revision) {
            return Ok(());
        }
        let matchers: Result<_, String> = record.matchers.iter().map(Matcher::of_record).collect();
        let (id, silence) = (record.id.clone(), Compiled { matchers: matchers?, record, revision });
        self.take(&id);
        match silence.anchor() {
            Some((name, value)) => {
                let values = self.by_label.entry(name.to_owned()).or_default();
                values.entry(value.to_owned()).or_default().insert(id.clone());
            }
            None => {
                self.others.insert(id.clone());
            }
        }
        self.by_id.insert(id, silence);
        Ok(())
    }

    fn take(&mut self, id: &str) {
        let Some(silence) = self.by_id.remove(id) else { return };
        let Some((name, value)) = silence.anchor() else {
            self.others.remove(id);
            return;
        };
        let Some(values) = self.by_label.get_mut(name) else { return };
        if let Some(ids) = values.get_mut(value) {
            ids.remove(id);
            if ids.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            self.by_label.remove(name);
        }
    }

    pub(crate) fn remove(&mut self, id: &str, revision: i64) {
        if self.by_id.get(id).is_some_and(|known| known.revision < revision) {
            self.take(id);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AlertSilence> {
        self.by_id.values().map(|silence| &silence.record)
    }

    /// All, with the revisions they were read at.
    pub(crate) fn with_revisions(&self) -> impl Iterator<Item = (&AlertSilence, i64)> {
        self.by_id.values().map(|silence| (&silence.record, silence.revision))
    }

    /// Forgets those that a list read at `revision` does not have.
    pub(crate) fn retain_newer(&mut self, revision: i64) {
        let old = self.by_id.iter().filter(|(_, silence)| silence.revision <= revision);
        let old: Vec<String> = old.map(|(id, _)| id.clone()).collect();
        old.iter().for_each(|id| self.take(id));
    }

    /// The ids of those that hold for such an alert at `now`, in their order.
    pub(crate) fn silenced_by(&self, labels: &LabelSet, now: Time) -> Vec<String> {
        let holds = |id: &&String| {
            self.by_id.get(*id).is_some_and(|silence| {
                silence.record.is_active(now) && all_match(&silence.matchers, labels)
            })
        };
        let demanding =
            labels.iter().filter_map(|(name, value)| self.by_label.get(name)?.get(value));
        let mut ids: Vec<String> =
            demanding.flatten().chain(&self.others).filter(holds).cloned().collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::AlertMatcher;

    use super::*;
    use crate::fixtures::time;

    fn silence(id: &str, name: &str, value: &str, starts: i64, ends: i64) -> AlertSilence {
        AlertSilence {
            id: id.to_owned(),
            matchers: vec![AlertMatcher {
                name: name.to_owned(),
                value: value.to_owned(),
                is_regex: false,
                is_equal: true,
            }],
            starts_at: time(starts),
            ends_at: time(ends),
            updated_at: time(0),
            created_by: "me".to_owned(),
            comment: "c".to_owned(),
        }
    }

    #[test]
    fn another_silence_gets_another_id() {
        let known = silence("old", "a", "b", 0, 100);
        for (wanted, now, id, expires) in [
            (silence("old", "a", "b", 0, 200), 50, "old", false),
            (silence("old", "a", "c", 0, 200), 50, "new", true),
            (silence("old", "a", "b", 60, 200), 50, "new", true),
            (silence("old", "a", "b", 0, 200), 150, "new", false),
            (silence("old", "a", "b", 10, 200), -10, "old", false),
        ] {
            let found = change(wanted, Some(&known), time(now), || "new".to_owned()).unwrap();
            assert_eq!(
                (found.write.id.as_str(), found.expire.is_some()),
                (id, expires),
                "{found:?}"
            );
        }
        let fresh = change(silence("", "a", "b", 0, 100), None, time(50), || "new".to_owned());
        assert_eq!(fresh.unwrap().write.starts_at, time(50));
    }

    #[test]
    fn what_is_refused() {
        for (wanted, message) in [
            (silence("", "a", "b", 100, 100), "start time must be before end time"),
            (silence("", "a", "b", 0, 10), "end time can't be in the past"),
            (silence("", "a", "", 0, 100), "must not match the empty string"),
            (silence("", "", "b", 0, 100), "invalid label name"),
            (
                AlertSilence { matchers: Vec::new(), ..silence("", "a", "b", 0, 100) },
                "at least one",
            ),
        ] {
            let error = change(wanted, None, time(50), String::new).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(expired(silence("x", "a", "b", 0, 10), time(10)).is_err());
    }

    proptest::proptest! {
        /// Whatever they demand, and in whatever order they come and go.
        #[test]
        fn found_as_if_all_were_asked(
            steps in proptest::collection::vec((0..6_usize, 0..3_usize, 0..3_usize, 0..4_u8, 0..4_u8), 1..40),
            alert in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3),
        ) {
            let mut silences = Silences::default();
            for (revision, (id, name, value, form, what)) in (1..).zip(steps) {
                let id = id.to_string();
                if what == 0 {
                    silences.remove(&id, revision);
                    continue;
                }
                let (name, value) = (["a", "b", "c"][name], ["x", "y", ""][value]);
                let mut silence = silence(&id, name, value, 0, 100);
                silence.matchers[0].is_regex = form & 1 == 1;
                silence.matchers[0].is_equal = form & 2 == 2;
                let second = AlertMatcher { name: "b".to_owned(), ..silence.matchers[0].clone() };
                silence.matchers.extend((what == 1).then_some(second));
                silences.put(silence, revision).unwrap();
            }
            let all = silences.iter().filter(|silence| {
                let matchers: Vec<_> =
                    silence.matchers.iter().map(|m| Matcher::of_record(m).unwrap()).collect();
                all_match(&matchers, &alert)
            });
            let expected: Vec<_> = all.map(|silence| silence.id.clone()).collect();
            proptest::prop_assert_eq!(silences.silenced_by(&alert, time(50)), expected);
            silences.retain_newer(100);
            proptest::prop_assert!(silences.by_label.is_empty() && silences.others.is_empty());
        }
    }

    #[test]
    fn holds_while_it_is_active() {
        let mut silences = Silences::default();
        silences.put(silence("x", "a", "b", 0, 100), 1).unwrap();
        let labels = LabelSet::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!(silences.silenced_by(&labels, time(50)), ["x"]);
        assert!(silences.silenced_by(&labels, time(100)).is_empty());
        assert!(silences.silenced_by(&LabelSet::new(), time(50)).is_empty());
        silences.remove("x", 1);
        assert!(silences.iter().count() == 1, "what is older than it does not take it away");
        silences.remove("x", 2);
        assert!(silences.iter().count() == 0);
    }
}
