//! The alias probe: what the registry says of another check, an instance, or a whole service.

use std::sync::{Mutex, PoisonError};

use watchkeep_catalog::{
    AliasCheck, Client, ClientError, Instance, Opinion, Status, Verdict, keys,
};

use super::{Phase, Stopwatch};

/// What came of a look.
type Result = std::result::Result<String, String>;

#[derive(Debug)]
pub(super) struct AliasProbe {
    check: AliasCheck,
    client: Client,
    /// Stands while the registry does not answer: its silence is no news of the service.
    last: Mutex<Option<Result>>,
}

impl AliasProbe {
    /// # Errors
    /// Where there is no registry to look into.
    pub(super) fn new(
        check: &AliasCheck,
        client: Option<&Client>,
    ) -> std::result::Result<Self, String> {
        let client = client.ok_or("alias: there is no registry to look into")?.clone();
        Ok(Self { check: check.clone(), client, last: Mutex::default() })
    }

    pub(super) async fn run(&self, watch: &mut Stopwatch) -> Result {
        watch.enter(Phase::Processing);
        let found = match (&self.check.instance, &self.check.check) {
            (Some(instance), Some(check)) => self.opinions(instance, check).await,
            (Some(instance), None) => self.verdict(instance).await,
            (None, _) => self.service().await,
        };
        match found {
            Ok(found) => {
                *self.known() = Some(found.clone());
                found
            }
            Err(error) => self.last().unwrap_or_else(|| Err(format!("the registry: {error}"))),
        }
    }

    /// What came of the last look that was answered.
    pub(super) fn last(&self) -> Option<Result> {
        self.known().clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Result>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn opinions(
        &self,
        instance: &str,
        check: &str,
    ) -> std::result::Result<Result, ClientError> {
        let service = &self.check.service;
        let (kvs, _) = self.client.list(&keys::opinion(service, instance, check, "")).await?;
        let opinions: Vec<Opinion> = kvs.iter().filter_map(|kv| kv.json().ok()).collect();
        Ok(majority(&format!("check {service}/{instance}/{check}"), &opinions))
    }

    async fn verdict(&self, instance: &str) -> std::result::Result<Result, ClientError> {
        let service = &self.check.service;
        let what = format!("instance {service}/{instance}");
        let Some(kv) = self.client.get(&keys::instance(service, instance)).await? else {
            return Ok(Err(format!("{what} is not registered")));
        };
        let checks = kv.json::<Instance>().map_or(0, |instance| instance.checks.len());
        if checks == 0 {
            return Ok(Ok(format!("{what} has no checks")));
        }
        let verdict = self.client.get(&keys::verdict(service, instance)).await?;
        let verdict = verdict.map(|kv| kv.json::<Verdict>()).transpose()?;
        Ok(match verdict {
            None => Err(format!("there is no verdict on {what}")),
            Some(v) if v.status == Status::Critical => Err(format!("{what}: {}", v.reason)),
            Some(_) => Ok(format!("{what} is passing")),
        })
    }

    async fn service(&self) -> std::result::Result<Result, ClientError> {
        let service = &self.check.service;
        let (instances, _) = self.client.list(&keys::instances_of(service)).await?;
        let (verdicts, _) = self.client.list(&keys::verdict(service, "")).await?;
        let critical = |kv: &&watchkeep_catalog::KeyValue| {
            kv.json().is_ok_and(|verdict: Verdict| verdict.status == Status::Critical)
        };
        let critical: Vec<_> = verdicts.iter().filter(critical).map(|kv| id(&kv.key)).collect();
        let well = instances.iter().filter(|kv| !critical.contains(&id(&kv.key))).count();
        let (all, least) = (instances.len(), self.check.passing_min);
        Ok(if well >= usize::try_from(least).unwrap_or(usize::MAX) {
            Ok(format!("service {service}: {well} of {all} instances are well"))
        } else {
            Err(format!(
                "service {service}: {well} of {all} instances are well, expected {least} at least"
            ))
        })
    }
}

/// The last segment of a key.
fn id(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Bad when a strict majority says so.
fn majority(what: &str, opinions: &[Opinion]) -> Result {
    let against: Vec<_> = opinions.iter().filter(|o| o.status == Status::Critical).collect();
    match against.first() {
        _ if opinions.is_empty() => Err(format!("there is no opinion on {what}")),
        Some(first) if against.len() * 2 > opinions.len() => {
            Err(format!("{what}: {}", first.reason))
        }
        _ => Ok(format!("{what} is passing")),
    }
}

#[cfg(test)]
mod tests;
