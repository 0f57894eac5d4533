//! How instances are, as far as the registry knows: the verdict, or before there is one the opinions.

use std::collections::{HashMap, HashSet};

use watchkeep_catalog::{
    Client, ClientError, Drain, Instance, KeyValue, Opinion, RoleHolder, RoleHolders, Status,
    Verdict, keys,
};

pub(crate) use watchkeep_catalog::{Health, Seen};

/// Every instance, and the revision as of which at least this holds.
///
/// # Errors
/// When the registry does not answer.
pub(crate) async fn all(client: &Client) -> Result<(Vec<Seen>, i64), ClientError> {
    under(client, "").await
}

/// The instances of one service, and the revision as of which at least this holds.
///
/// # Errors
/// When the registry does not answer.
pub(crate) async fn of_service(
    client: &Client,
    service: &str,
) -> Result<(Vec<Seen>, i64), ClientError> {
    under(client, &format!("{service}/")).await
}

/// The prefixes of all that says how instances are.
pub(super) const PREFIXES: [&str; 5] =
    [keys::INSTANCES, keys::VERDICTS, keys::OPINIONS, keys::ROLES, keys::DRAINS];

/// What is under [`PREFIXES`].
pub(super) struct Lists<'a> {
    pub(super) instances: &'a [KeyValue],
    pub(super) verdicts: &'a [KeyValue],
    pub(super) opinions: &'a [KeyValue],
    pub(super) roles: &'a [KeyValue],
    pub(super) drains: &'a [KeyValue],
}

async fn under(client: &Client, rest: &str) -> Result<(Vec<Seen>, i64), ClientError> {
    let prefixes = PREFIXES.map(|p| format!("{p}{rest}"));
    let [instances, verdicts, opinions, roles, drains] = &prefixes;
    let (instances, verdicts, opinions, roles, drains) = tokio::try_join!(
        client.list(instances),
        client.list(verdicts),
        client.list(opinions),
        client.list(roles),
        client.list(drains)
    )?;
    let revision = instances.1.min(verdicts.1).min(opinions.1).min(roles.1).min(drains.1);
    let lists = Lists {
        instances: &instances.0,
        verdicts: &verdicts.0,
        opinions: &opinions.0,
        roles: &roles.0,
        drains: &drains.0,
    };
    Ok((judge(&lists), revision))
}

/// Puts together what the lists say. A record that cannot be read is left out.
pub(super) fn judge(lists: &Lists<'_>) -> Vec<Seen> {
    let verdicts: HashMap<String, Verdict> = by_pair(lists.verdicts, keys::VERDICTS);
    let drains: HashMap<String, Drain> = by_pair(lists.drains, keys::DRAINS);
    let critical: HashSet<String> = lists
        .opinions
        .iter()
        .filter(|kv| kv.json::<Opinion>().is_ok_and(|o| o.status == Status::Critical))
        .filter_map(|kv| pair(&kv.key, keys::OPINIONS))
        .collect();
    let mut holders: HashMap<String, RoleHolders> = HashMap::new();
    for holder in lists.roles.iter().filter_map(|kv| kv.json::<RoleHolder>().ok()) {
        let of_service = holders.entry(holder.service.clone()).or_default();
        of_service.insert(holder.role.clone(), holder);
    }
    let see = |kv: &KeyValue| {
        let pair = pair(&kv.key, keys::INSTANCES)?;
        let mut instance: Instance = kv.json().ok()?;
        // The key decides: a plain put may leave the service out of the value.
        pair.split('/').next()?.clone_into(&mut instance.service);
        let holders = holders.get(&instance.service);
        let seen = Seen::judge(instance, kv.lease, verdicts.get(&pair), critical.contains(&pair));
        Some(seen.moved(holders, drains.get(&pair)))
    };
    lists.instances.iter().filter_map(see).collect()
}

/// The records by `service/instance`.
fn by_pair<T: serde::de::DeserializeOwned>(kvs: &[KeyValue], prefix: &str) -> HashMap<String, T> {
    kvs.iter().filter_map(|kv| Some((pair(&kv.key, prefix)?, kv.json().ok()?))).collect()
}

/// `service/instance` of a key.
pub(super) fn pair(key: &str, prefix: &str) -> Option<String> {
    match keys::segments(key, prefix)?.as_slice() {
        [service, instance, ..] => Some(format!("{service}/{instance}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kv(key: &str, value: &str) -> KeyValue {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let key = key.to_owned();
        KeyValue { key, value, create_revision: 1, mod_revision: 1, version: 1, lease: 0 }
    }

    #[test]
    fn verdict_beats_opinion_beats_nothing() {
        let instance = r#"{"id":"a","address":"h","port":1,"checks":[{"name":"c","tcp":{}}]}"#;
        let bare = r#"{"id":"a","address":"h","port":1}"#;
        let opinion = r#"{"status":"critical","since":"2026-01-01T00:00:00Z","first_seen":"2026-01-01T00:00:00Z","reason":"r"}"#;
        let verdict = |status: &str| {
            format!(
                r#"{{"service":"s","instance":"a","status":"{status}","since":"2026-01-01T00:00:00Z",
                "first_seen":"2026-01-01T00:00:00Z","reason":"r","agree":1,"opinions":1}}"#
            )
        };
        for (instance, verdict, opinion, expected) in [
            (instance, None, None, Health::Unknown),
            (bare, None, None, Health::Passing),
            (instance, None, Some(opinion), Health::Critical),
            (instance, Some(verdict("passing")), Some(opinion), Health::Passing),
            (instance, Some(verdict("critical")), None, Health::Critical),
        ] {
            let verdicts: Vec<_> =
                verdict.iter().map(|v| kv(&keys::verdict("s", "a"), v)).collect();
            let opinions: Vec<_> =
                opinion.iter().map(|o| kv(&keys::opinion("s", "a", "c", "n"), o)).collect();
            let instances = [kv(&keys::instance("s", "a"), instance)];
            let seen = judge(&Lists {
                instances: &instances,
                verdicts: &verdicts,
                opinions: &opinions,
                roles: &[],
                drains: &[],
            });
            assert_eq!(seen[0].status, expected);
            let is_told = !verdicts.is_empty() || !opinions.is_empty();
            assert_eq!(seen[0].reason.is_some(), is_told, "why it is so");
            assert_eq!(seen[0].instance.service, "s");
        }
    }
}
