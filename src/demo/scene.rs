//! The play itself: steady state, the primary's death, the page, the leader's death, the report.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use watchkeep_catalog::{
    Client, Failover, FailoverState, Incident, IncidentStatus, Status, Verdict, keys,
};

use super::{
    PATIENCE,
    cluster::Node,
    now,
    report::Report,
    setting::{FALL, INTERVAL_MS, MAIL, PERSON, SERVICE, Server},
    smtp::Mails,
    timeline::Timeline,
    wait::until,
    webhook::Deliveries,
};
use crate::{http::ClusterState, out};

/// How long the service is watched before the fault, so that the SLO has something to say.
const BEFORE_FAULT: Duration = Duration::from_secs(10);
/// Written after the leader's death.
const AFTER_KEY: &str = "/demo/written-after-the-leader-died";

/// Everybody on stage.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) nodes: Vec<Node>,
    pub(super) primary: Server,
    pub(super) standby: Server,
    pub(super) mails: Mails,
    pub(super) pages: Deliveries,
}

impl Scene {
    pub(super) async fn play(mut self) -> anyhow::Result<()> {
        let mut timeline = Timeline::default();
        let client = self.client()?;
        let leader = self.steady(&client).await?;
        out::line(format_args!(
            "steady: {} leads the registry; watching for {BEFORE_FAULT:?}",
            self.name(leader)
        ));
        tokio::time::sleep(BEFORE_FAULT).await;
        let before =
            self.slo("an SLO report without downtime", |r| r.downtimes() == Some(0)).await?;

        let fault = now();
        self.primary.kill()?;
        timeline.add(fault, format!("fault: {} killed with SIGKILL", self.primary.id), "demo");
        let incident = self.failed_over(&client, &mut timeline).await?;
        self.paged(&client, &incident, &mut timeline).await?;
        self.leader_killed(&incident, &mut timeline).await?;
        let counted = |r: &Report| r.state == "up" && r.downtimes() > Some(0);
        let after = self.slo("an SLO report with the downtime", counted).await?;

        out::line("");
        let (took, promised) = (timeline.since_start("callback delivered"), promise());
        timeline.print();
        out::line("");
        out::line(format_args!("fault to callback: {took} ms; promised: at most {promised} ms"));
        out::line(format_args!("SLO before ({SERVICE}, last hour): {before}"));
        out::line(format_args!("SLO after ({SERVICE}, last hour): {after}"));
        out::line("every step happened");
        Ok(())
    }

    fn client(&self) -> anyhow::Result<Client> {
        let endpoints: Vec<_> = self.nodes.iter().map(|n| n.endpoint.clone()).collect();
        Ok(Client::new(&endpoints)?)
    }

    fn name(&self, id: u64) -> String {
        self.nodes.iter().find(|n| n.id == id).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    /// A leader that every node agrees on, both services registered and passing, nothing failed over.
    async fn steady(&self, client: &Client) -> anyhow::Result<u64> {
        let leader = until("a leader that all nodes agree on", PATIENCE, || self.agreed()).await?;
        let path = format!("/v1/services/{SERVICE}/instances");
        for server in [&self.primary, &self.standby] {
            self.nodes[0].api.post::<Value>(&path, &server.registration()).await?;
        }
        for server in [&self.primary, &self.standby] {
            let key = keys::verdict(SERVICE, server.id);
            let passing = || async {
                let verdict: Verdict = read(client, &key).await?;
                (verdict.status == Status::Passing).then_some(())
            };
            until(&format!("verdict passing on {}", server.id), PATIENCE, passing).await?;
        }
        Ok(leader)
    }

    async fn agreed(&self) -> Option<u64> {
        let mut leader = None;
        for node in &self.nodes {
            let seen: ClusterState = node.api.get("/v1/cluster").await.ok()?;
            leader = Some(seen.leader?).filter(|l| leader.is_none_or(|known| known == *l));
            leader?;
        }
        leader
    }

    /// From the fault to the promoted standby.
    async fn failed_over(
        &self,
        client: &Client,
        timeline: &mut Timeline,
    ) -> anyhow::Result<Incident> {
        let limit = Duration::from_millis(INTERVAL_MS * u64::from(FALL)) + PATIENCE;
        let find = || first::<Failover>(client, keys::FAILOVERS);
        let failover = until("the decision to fail over", limit, find).await?;
        let key = keys::verdict(SERVICE, self.primary.id);
        let verdict: Verdict = until("the verdict", PATIENCE, || read(client, &key)).await?;
        let promoted = || async { self.standby.state().await?.promoted_at };
        let promoted_at = until("the callback to the standby", PATIENCE, promoted).await?;
        let delivered = || async {
            let failover: Failover = read(client, &keys::failover(&failover.id)).await?;
            (failover.state == FailoverState::Delivered).then_some(failover)
        };
        until("the callback's outcome in its record", PATIENCE, delivered).await?;
        let heard = format!(
            "verdict critical ({} of {} opinions): {}",
            verdict.agree, verdict.opinions, verdict.reason
        );
        timeline.add(verdict.first_seen, "first failed probe", "verdict");
        timeline.add(verdict.since, heard, "verdict");
        timeline.add(
            failover.decided_at,
            format!("failover {} decided", failover.policy),
            "failover",
        );
        timeline.add(
            promoted_at,
            format!("callback delivered, {} is primary", self.standby.id),
            "standby's clock",
        );
        // What a promoted standby does: from now on it counts as the primary.
        let mut registration = self.standby.registration();
        registration["role"] = json!("primary");
        let path = format!("/v1/services/{SERVICE}/instances");
        self.nodes[0].api.post::<Value>(&path, &registration).await?;
        let key = keys::incident(&failover.incident);
        until("the incident", PATIENCE, || read(client, &key)).await
    }

    /// The page by mail and webhook, and somebody who takes it.
    async fn paged(
        &self,
        client: &Client,
        incident: &Incident,
        timeline: &mut Timeline,
    ) -> anyhow::Result<()> {
        let mail =
            until("the page by mail", PATIENCE, || async { self.mails.first_to(MAIL) }).await?;
        let page =
            until("the page by webhook", PATIENCE, || async { self.pages.first("firing") }).await?;
        let subject = mail.subject();
        timeline.add(
            mail.received_at,
            format!("page delivered to {MAIL}: {subject}"),
            "mail server's clock",
        );
        timeline.add(page, "page delivered to ops-hook", "webhook's clock");
        let path = format!("/v1/incidents/{}", incident.id);
        let action = json!({"action": "acknowledge", "by": PERSON});
        self.nodes[0].api.post::<Value>(&path, &action).await?;
        let key = keys::incident(&incident.id);
        let acknowledged = || async {
            let incident: Incident = read(client, &key).await?;
            let at = incident.acknowledged_at?;
            (incident.status == IncidentStatus::Acknowledged).then_some(at)
        };
        let at: DateTime<Utc> = until("the acknowledgement", PATIENCE, acknowledged).await?;
        timeline.add(at, format!("acknowledged by {PERSON}"), "incident");
        Ok(())
    }

    /// The leader's death, its successor and the first write afterwards; nothing acknowledged may be lost.
    async fn leader_killed(
        &mut self,
        incident: &Incident,
        timeline: &mut Timeline,
    ) -> anyhow::Result<()> {
        let leader = until("a leader before its death", PATIENCE, || self.agreed()).await?;
        let at = self.nodes.iter().position(|n| n.id == leader);
        let mut dead = self.nodes.remove(at.context("the leader is none of the three nodes")?);
        let client = self.client()?;
        let killed_at = now();
        dead.kill().await?;
        timeline.add(
            killed_at,
            format!("{} (registry leader) killed with SIGKILL", dead.name),
            "demo",
        );
        let next = until("a new leader", PATIENCE, || self.agreed_without(leader));
        let write = until("a write after the leader's death", PATIENCE, || async {
            client.put(AFTER_KEY, "written", 0).await.ok()?;
            Some(now())
        });
        let timed = async {
            let (id, term) = next.await?;
            anyhow::Ok((id, term, now()))
        };
        let ((id, term, led_at), written_at) = tokio::try_join!(timed, write)?;
        timeline.add(
            led_at,
            format!("new leader: {} (term {term})", self.name(id)),
            "both survivors",
        );
        timeline.add(written_at, "first write acknowledged", "demo");
        let kept: Option<Incident> = read(&client, &keys::incident(&incident.id)).await;
        let acknowledged = kept.is_some_and(|i| i.acknowledged_by.as_deref() == Some(PERSON));
        anyhow::ensure!(acknowledged, "step failed: the acknowledgement was lost with the leader");
        let (failovers, _) = client.list(keys::FAILOVERS).await?;
        anyhow::ensure!(
            failovers.len() == 1,
            "step failed: one failover expected, found {}",
            failovers.len()
        );
        let state = until("the standby's answer", PATIENCE, || self.standby.state()).await?;
        anyhow::ensure!(
            state.keys.len() == 1,
            "step failed: the callback had {} keys, not one",
            state.keys.len()
        );
        Ok(())
    }

    /// The successor and its term, once every survivor knows it.
    async fn agreed_without(&self, dead: u64) -> Option<(u64, u64)> {
        let leader = self.agreed().await.filter(|l| *l != dead)?;
        let node = self.nodes.iter().find(|n| n.id == leader)?;
        let seen: ClusterState = node.api.get("/v1/cluster").await.ok()?;
        Some((leader, seen.term))
    }

    /// The report on the last hour, once it says what it should.
    async fn slo(&self, what: &str, good: impl Fn(&Report) -> bool) -> anyhow::Result<Report> {
        let path = format!("/v1/slo/{SERVICE}?window=1h");
        let look = || async { self.nodes[0].api.get(&path).await.ok().filter(&good) };
        until(what, PATIENCE, look).await
    }
}

/// From fault to callback: the probes that must fail, and 100 ms.
fn promise() -> u64 {
    INTERVAL_MS * u64::from(FALL) + 100
}

/// The record at `key`.
async fn read<T: DeserializeOwned>(client: &Client, key: &str) -> Option<T> {
    client.get(key).await.ok()??.json().ok()
}

/// The first record under `prefix`.
async fn first<T: DeserializeOwned>(client: &Client, prefix: &str) -> Option<T> {
    client.list(prefix).await.ok()?.0.first()?.json().ok()
}
