//! Another instance gets the role: chosen by zone, tag, weight or a metric among those that are well, and moved in one
//! transaction with the journal, so that every watcher and every DNS answer changes with it.
//!
//! Two things move: `/watchkeep/roles/{service}/{role}`, which decides whatever instances say of themselves, and the roles in
//! the instances' own records, for whoever reads no more than those.

use std::collections::BTreeMap;

use watchkeep_catalog::{
    Incident, Instance, KeyValue, RoleHolder, RoleHolders, Status, Verdict,
    client::{Compare, Op},
    effective_role, keys, role_note,
};

use super::{Deposed, Outcome, Run, fill, plan};
use crate::{
    clock,
    config::{Prefer, Promote, ZoneRule},
    source::RowValue,
    store::Extra,
};

/// Where the journal keeps who had the role before.
const HOLDER: &str = "holder";
/// Roles that change at once: etcd takes 128 operations, and the journal and the incident are among them.
const OPS_MAX: usize = 100;

/// The service as the registry has it now.
struct Scene {
    members: Vec<Member>,
    /// The role's own key.
    role: Option<KeyValue>,
}

#[derive(Debug, Clone)]
struct Member {
    kv: KeyValue,
    instance: Instance,
    /// Whoever says what.
    role: String,
    serves: bool,
}

/// A member as the choice sees it.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    id: String,
    weight: u32,
    metric: Option<f64>,
}

/// Chooses and moves nothing.
pub(super) async fn choose(run: &mut Run<'_>, config: &Promote) -> Result<Outcome, Deposed> {
    Ok(match scene(run, config).await {
        Err(why) => Outcome::Failed(why),
        Ok(scene) => match pick(run, config, &scene).await {
            Err(why) => Outcome::Failed(why),
            Ok(id) => {
                let text = format!("candidate for {}: {id}", config.role);
                run.record().candidate = Some(id);
                Outcome::done(text)
            }
        },
    })
}

/// Moves the role to the candidate.
pub(super) async fn promote(
    run: &mut Run<'_>,
    at: usize,
    config: &Promote,
) -> Result<Outcome, Deposed> {
    Ok(match moved(run, at, config).await {
        Ok(outcome) => outcome,
        Err(why) => Outcome::Failed(why),
    })
}

async fn moved(run: &mut Run<'_>, at: usize, config: &Promote) -> Result<Outcome, String> {
    let scene = scene(run, config).await?;
    let chosen = match run.failover.record.candidate.clone() {
        Some(chosen) => chosen,
        None => pick(run, config, &scene).await?,
    };
    let service = run.failover.record.service.clone();
    let candidate = scene.members.iter().find(|member| member.instance.id == chosen);
    let candidate = candidate.ok_or_else(|| format!("{service}/{chosen} is registered no more"))?;
    if run.failover.record.rehearsal {
        run.record().candidate = Some(chosen.clone());
        let text = format!("it would make {service}/{chosen} {}", config.role);
        return Ok(Outcome::done(text));
    }
    let holder = RoleHolder {
        service: service.clone(),
        role: config.role.clone(),
        instance: chosen.clone(),
        others: config.demote_to.clone(),
        since: clock::now(),
        failover: run.failover.record.id.clone(),
    };
    let mut extra = Extra { acts: true, ..Extra::default() };
    let role_key = keys::role(&service, &config.role);
    let known = scene.role.as_ref().map_or(0, |kv| kv.mod_revision);
    extra.when.push(Compare::mod_revision(&role_key, known));
    extra.then.push(Op::put_json(&role_key, &holder).map_err(|e| e.to_string())?);
    let mut before = BTreeMap::new();
    let was = scene.role.as_ref().and_then(|kv| String::from_utf8(kv.value.to_vec()).ok());
    before.insert(HOLDER.to_owned(), was.unwrap_or_default());
    set_role(&mut extra, &mut before, candidate, &config.role)?;
    let mut demoted = Vec::new();
    for member in scene.members.iter().filter(|member| member.instance.id != chosen) {
        if member.instance.role == config.role {
            set_role(&mut extra, &mut before, member, &config.demote_to)?;
            demoted.push(member.instance.id.clone());
        }
    }
    if extra.then.len() > OPS_MAX {
        return Err(format!(
            "{} instances of {service} say that they are {}: more than can change at once",
            extra.then.len() - 1,
            config.role
        ));
    }
    let record = run.record();
    record.candidate = Some(chosen.clone());
    for (what, was) in before {
        plan::remember(&mut record.steps[at], what, Some(was));
    }
    let rest = match demoted.is_empty() {
        true => String::new(),
        false => format!("; {} is {} now", demoted.join(", "), config.demote_to),
    };
    Ok(Outcome::with(format!("{service}/{chosen} is {} now{rest}", config.role), extra))
}

/// One instance's own record says another role, under the lease that it has.
fn set_role(
    extra: &mut Extra,
    before: &mut BTreeMap<String, String>,
    member: &Member,
    role: &str,
) -> Result<(), String> {
    let (kv, declared) = (&member.kv, &member.instance.role);
    extra.when.push(Compare::mod_revision(&kv.key, kv.mod_revision));
    if declared == role {
        return Ok(());
    }
    before.insert(role_note(&member.instance.id), declared.clone());
    let instance = Instance { role: role.to_owned(), ..member.instance.clone() };
    let value = serde_json::to_vec(&instance).map_err(|error| error.to_string())?;
    extra.then.push(Op::put(&kv.key, value, kv.lease));
    Ok(())
}

/// Gives the roles back to those who had them, as far as they are still there.
pub(super) async fn undo(
    run: &mut Run<'_>,
    promoted: usize,
    config: &Promote,
) -> Result<Outcome, Deposed> {
    if run.failover.record.rehearsal {
        return Ok(Outcome::done("nothing was changed"));
    }
    Ok(given_back(run, promoted, config).await.unwrap_or_else(Outcome::Failed))
}

async fn given_back(run: &Run<'_>, promoted: usize, config: &Promote) -> Result<Outcome, String> {
    let record = &run.failover.record;
    let (before, service) = (&record.steps[promoted].before, &record.service);
    let scene = scene(run, config).await?;
    let key = keys::role(service, &config.role);
    let Some(now) = &scene.role else { return Err("nobody has the role any more".to_owned()) };
    let holder: RoleHolder = now.json().map_err(|error| error.to_string())?;
    if holder.failover != record.id {
        return Err(format!("{} has given the role to {} since", holder.failover, holder.instance));
    }
    let mut extra = Extra { acts: true, ..Extra::default() };
    extra.when.push(Compare::mod_revision(&key, now.mod_revision));
    extra.then.push(match before.get(HOLDER).map(String::as_str) {
        None | Some("") => Op::delete(&key),
        Some(was) => Op::put(&key, was.to_owned(), 0),
    });
    let mut ignored = BTreeMap::new();
    for member in &scene.members {
        if let Some(was) = before.get(&role_note(&member.instance.id)) {
            set_role(&mut extra, &mut ignored, member, was)?;
        }
    }
    Ok(Outcome::with(format!("the role {} of {service} is as it was", config.role), extra))
}

async fn scene(run: &Run<'_>, config: &Promote) -> Result<Scene, String> {
    let service = &run.failover.record.service;
    let client = &run.context.client;
    let under = |prefix: &str| format!("{prefix}{service}/");
    let (instances, verdicts, drains, roles) = (
        keys::instances_of(service),
        under(keys::VERDICTS),
        under(keys::DRAINS),
        under(keys::ROLES),
    );
    let (instances, verdicts, drains, roles) = tokio::try_join!(
        client.list(&instances),
        client.list(&verdicts),
        client.list_keys(&drains),
        client.list(&roles),
    )
    .map_err(|error| error.to_string())?;
    let holders: RoleHolders = roles
        .0
        .iter()
        .filter_map(|kv| kv.json::<RoleHolder>().ok())
        .map(|holder| (holder.role.clone(), holder))
        .collect();
    let status = |id: &str| {
        let key = keys::verdict(service, id);
        let kv = verdicts.0.iter().find(|kv| kv.key == key)?;
        kv.json::<Verdict>().ok().map(|verdict| verdict.status)
    };
    let member = |kv: KeyValue| {
        let instance: Instance = kv.json().ok()?;
        let well = match status(&instance.id) {
            Some(status) => status == Status::Passing,
            None => instance.checks.is_empty(),
        };
        let serves = well && !drains.contains(&keys::drain(service, &instance.id));
        let role = effective_role(&instance.id, &instance.role, Some(&holders)).to_owned();
        Some(Member { kv, instance, role, serves })
    };
    let key = keys::role(service, &config.role);
    let role = roles.0.iter().find(|kv| kv.key == key).cloned();
    Ok(Scene { members: instances.0.into_iter().filter_map(member).collect(), role })
}

/// The best of those who may.
async fn pick(run: &Run<'_>, config: &Promote, scene: &Scene) -> Result<String, String> {
    let record = &run.failover.record;
    let failed = scene.members.iter().find(|member| member.instance.id == record.instance);
    let zone = match failed {
        Some(member) => Some(member.instance.zone.clone()),
        None if config.zone.is_some() => last_zone(run).await?,
        None => None,
    };
    if config.zone.is_some() && zone.as_ref().is_none_or(String::is_empty) {
        return Err("the zone of the failed instance is not known".to_owned());
    }
    let may = |member: &&Member| {
        let i = &member.instance;
        let in_place = match config.zone {
            None => true,
            Some(ZoneRule::Same) => Some(&i.zone) == zone.as_ref(),
            Some(ZoneRule::Other) => !i.zone.is_empty() && Some(&i.zone) != zone.as_ref(),
        };
        i.id != record.instance
            && member.serves
            && member.role != config.role
            && !record.tried.contains(&i.id)
            && in_place
            && config.tag.as_ref().is_none_or(|tag| i.tags.contains(tag))
            && config.from_role.as_ref().is_none_or(|role| member.role == *role)
    };
    let metrics = metrics(run, config).await?;
    let candidates: Vec<Candidate> = scene
        .members
        .iter()
        .filter(may)
        .map(|member| Candidate {
            id: member.instance.id.clone(),
            weight: member.instance.weight,
            metric: metrics.as_ref().and_then(|metrics| metrics.get(&member.instance.id).copied()),
        })
        .collect();
    let tried = match record.tried.is_empty() {
        true => String::new(),
        false => format!("; tried: {}", record.tried.join(", ")),
    };
    best(candidates, metrics.is_some(), config.prefer).ok_or_else(|| {
        format!("no other instance of {} may become {}{tried}", record.service, config.role)
    })
}

/// Whoever has died has lost its registration: its incident tells where it was.
async fn last_zone(run: &Run<'_>) -> Result<Option<String>, String> {
    let record = &run.failover.record;
    if record.incident.is_empty() {
        return Ok(None);
    }
    let kv = run.context.client.get(&keys::incident(&record.incident)).await;
    let kv = kv.map_err(|error| error.to_string())?;
    let incident = kv.and_then(|kv| kv.json::<Incident>().ok());
    Ok(incident.and_then(|incident| incident.labels.get("zone").cloned()))
}

/// The metric of each instance, where one is asked for.
async fn metrics(run: &Run<'_>, config: &Promote) -> Result<Option<BTreeMap<String, f64>>, String> {
    let Some(expr) = &config.metric else { return Ok(None) };
    let (expr, now) = (fill(&run.failover.record, expr), clock::now().timestamp_millis());
    let answer = run.context.source.query(&expr, now).await.map_err(|error| error.to_string())?;
    let rows = answer.into_rows(now).ok_or_else(|| format!("{expr} is no vector"))?;
    let value = |row: crate::source::VectorRow| {
        let id = row.labels.get("instance")?.clone();
        Some((id, RowValue::float(&row.value).filter(|value| !value.is_nan())?))
    };
    Ok(Some(rows.into_iter().filter_map(value).collect()))
}

/// By the metric, if there is one: who has none is no candidate. Then by weight, then by id.
fn best(mut candidates: Vec<Candidate>, by_metric: bool, prefer: Prefer) -> Option<String> {
    if by_metric {
        candidates.retain(|candidate| candidate.metric.is_some());
    }
    let least = |candidate: &Candidate| {
        let value = candidate.metric.unwrap_or(0.0);
        match prefer {
            Prefer::Lowest => value,
            Prefer::Highest => -value,
        }
    };
    candidates.sort_by(|a, b| {
        let by_weight = || b.weight.cmp(&a.weight).then_with(|| a.id.cmp(&b.id));
        least(a).total_cmp(&least(b)).then_with(by_weight)
    });
    candidates.into_iter().next().map(|candidate| candidate.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_candidate() {
        let of = |id: &str, weight, metric| Candidate { id: id.to_owned(), weight, metric };
        let all = || vec![of("b", 1, Some(5.0)), of("a", 1, None), of("c", 2, Some(9.0))];
        for (by_metric, prefer, expected) in [
            (false, Prefer::Lowest, "a"),
            (true, Prefer::Lowest, "b"),
            (true, Prefer::Highest, "c"),
        ] {
            let mut candidates = all();
            if !by_metric {
                candidates.iter_mut().for_each(|candidate| candidate.metric = None);
                candidates[2].weight = 1;
            }
            assert_eq!(best(candidates, by_metric, prefer).as_deref(), Some(expected));
        }
        let heavier = vec![of("a", 1, None), of("b", 3, None)];
        assert_eq!(best(heavier, false, Prefer::Lowest).as_deref(), Some("b"));
        assert_eq!(best(vec![of("a", 1, None)], true, Prefer::Lowest), None);
    }
}
