//! Where each record lives. Everything of Watchkeep's is under [`ROOT`].
//!
//! ```text
//! /watchkeep/services/{service}                                  Service
//! /watchkeep/instances/{service}/{instance}                      Instance (under the instance's lease, if any)
//! /watchkeep/opinions/{service}/{instance}/{check}/{collector}   Opinion  (under the collector's lease)
//! /watchkeep/verdicts/{service}/{instance}                       Verdict
//! /watchkeep/panics/{service}                                    Panic
//! /watchkeep/maintenance/{id}                                    Maintenance
//! /watchkeep/clock                                               Clock
//! /watchkeep/reports/{service}/{instance}/{check}                Report   (under a lease of the check's ttl_ms)
//! /watchkeep/collectors/{id}                                     Collector (leased)
//! /watchkeep/alerting/members/{id}                               Member    (leased)
//! /watchkeep/alerting/leader                                     Member    (leased)
//! /watchkeep/alerts/{fingerprint}                                Alert
//! /watchkeep/alerting/silences/{id}                              AlertSilence
//! /watchkeep/alerting/notifications/{id}                         Notification
//! /watchkeep/alerting/rules/{group}/{rule}/{fingerprint}         RuleAlert
//! /watchkeep/failovers/{id}                                      Failover
//! /watchkeep/failover-stop                                       FailoverStop
//! /watchkeep/roles/{service}/{role}                              RoleHolder
//! /watchkeep/drains/{service}/{instance}                         Drain
//! /watchkeep/absent-drains/{service}/{instance}                  DrainAbsence
//! /watchkeep/incidents/{id}                                      Incident
//! /watchkeep/incident-keys/{digest}                              DedupKey
//! /watchkeep/heartbeats/{name}                                   Heartbeat
//! /watchkeep/oncall/{schedule}/{id}                              ScheduleChange
//! /watchkeep/slo/{service}/{yyyy-mm-dd}                          a day's roll-up
//! /watchkeep/slo-reports/{name}                                  which scheduled report went out last, to whom
//! ```

/// Prefix of all keys.
pub const ROOT: &str = "/watchkeep/";
/// Prefix of [`service`].
pub const SERVICES: &str = "/watchkeep/services/";
/// Prefix of [`instance`].
pub const INSTANCES: &str = "/watchkeep/instances/";
/// Prefix of [`opinion`].
pub const OPINIONS: &str = "/watchkeep/opinions/";
/// Prefix of [`verdict`].
pub const VERDICTS: &str = "/watchkeep/verdicts/";
/// Prefix of [`panic`].
pub const PANICS: &str = "/watchkeep/panics/";
/// Prefix of [`maintenance`].
pub const MAINTENANCE: &str = "/watchkeep/maintenance/";
/// The marks that lead from times to revisions.
pub const CLOCK: &str = "/watchkeep/clock";
/// Prefix of [`report`].
pub const REPORTS: &str = "/watchkeep/reports/";
/// Prefix of [`collector`].
pub const COLLECTORS: &str = "/watchkeep/collectors/";
/// Prefix of [`alerting_member`].
pub const ALERTING_MEMBERS: &str = "/watchkeep/alerting/members/";
/// Who decides: held under the lease of the alerting leader.
pub const ALERTING_LEADER: &str = "/watchkeep/alerting/leader";
/// Prefix of all that alerting itself keeps: members, leader, alerts, silences, notifications.
pub const ALERT: &str = "/watchkeep/alert";
/// Prefix of [`alert`].
pub const ALERTS: &str = "/watchkeep/alerts/";
/// Prefix of [`silence`].
pub const SILENCES: &str = "/watchkeep/alerting/silences/";
/// Prefix of [`notification`].
pub const NOTIFICATIONS: &str = "/watchkeep/alerting/notifications/";
/// Prefix of [`rule_alert`].
pub const RULE_ALERTS: &str = "/watchkeep/alerting/rules/";
/// Prefix of [`failover`].
pub const FAILOVERS: &str = "/watchkeep/failovers/";
/// While it is there, no failover is begun and none goes on.
pub const FAILOVER_STOP: &str = "/watchkeep/failover-stop";
/// Prefix of [`role`].
pub const ROLES: &str = "/watchkeep/roles/";
/// Prefix of [`drain`].
pub const DRAINS: &str = "/watchkeep/drains/";
/// Prefix of [`absent_drain`].
pub const ABSENT_DRAINS: &str = "/watchkeep/absent-drains/";
/// Prefix of [`incident`].
pub const INCIDENTS: &str = "/watchkeep/incidents/";
/// Prefix of [`incident_key`].
pub const INCIDENT_KEYS: &str = "/watchkeep/incident-keys/";
/// Prefix of [`heartbeat`].
pub const HEARTBEATS: &str = "/watchkeep/heartbeats/";
/// Prefix of [`schedule_change`].
pub const ONCALL: &str = "/watchkeep/oncall/";
/// Prefix of [`slo_day`].
pub const SLO: &str = "/watchkeep/slo/";

/// Prefix of [`slo_report`].
pub const SLO_REPORTS: &str = "/watchkeep/slo-reports/";

/// Key of a service's own record.
#[must_use]
pub fn service(service: &str) -> String {
    format!("{SERVICES}{service}")
}

/// Key of an instance.
#[must_use]
pub fn instance(service: &str, instance: &str) -> String {
    format!("{INSTANCES}{service}/{instance}")
}

/// Prefix of all instances of one service.
#[must_use]
pub fn instances_of(service: &str) -> String {
    format!("{INSTANCES}{service}/")
}

/// Prefix of all opinions on one service.
#[must_use]
pub fn opinions_of(service: &str) -> String {
    format!("{OPINIONS}{service}/")
}

/// Key of one collector's opinion on one check.
#[must_use]
pub fn opinion(service: &str, instance: &str, check: &str, collector: &str) -> String {
    format!("{OPINIONS}{service}/{instance}/{check}/{collector}")
}

/// Key of the verdict on an instance.
#[must_use]
pub fn verdict(service: &str, instance: &str) -> String {
    format!("{VERDICTS}{service}/{instance}")
}

/// Key of a service's panic.
#[must_use]
pub fn panic(service: &str) -> String {
    format!("{PANICS}{service}")
}

/// Key of a maintenance window.
#[must_use]
pub fn maintenance(id: &str) -> String {
    format!("{MAINTENANCE}{id}")
}

/// Key of what a service said of one of its checks.
#[must_use]
pub fn report(service: &str, instance: &str, check: &str) -> String {
    format!("{REPORTS}{service}/{instance}/{check}")
}

/// Key of a collector's membership.
#[must_use]
pub fn collector(id: &str) -> String {
    format!("{COLLECTORS}{id}")
}

/// Key of an alerting node's membership.
#[must_use]
pub fn alerting_member(id: &str) -> String {
    format!("{ALERTING_MEMBERS}{id}")
}

/// Key of an alert, by the fingerprint of its labels.
#[must_use]
pub fn alert(fingerprint: u64) -> String {
    format!("{ALERTS}{fingerprint:016x}")
}

/// Key of a silence.
#[must_use]
pub fn silence(id: &str) -> String {
    format!("{SILENCES}{id}")
}

/// Key of the latest notification of a group by one integration.
#[must_use]
pub fn notification(id: &str) -> String {
    format!("{NOTIFICATIONS}{id}")
}

/// Key of an active alert of a rule; group and rule are their ids.
#[must_use]
pub fn rule_alert(group: &str, rule: &str, fingerprint: &str) -> String {
    format!("{RULE_ALERTS}{group}/{rule}/{fingerprint}")
}

/// Key of a failover's journal.
#[must_use]
pub fn failover(id: &str) -> String {
    format!("{FAILOVERS}{id}")
}

/// Key of who has a role of a service.
#[must_use]
pub fn role(service: &str, role: &str) -> String {
    format!("{ROLES}{service}/{role}")
}

/// Key of an instance that is left out of answers.
#[must_use]
pub fn drain(service: &str, instance: &str) -> String {
    format!("{DRAINS}{service}/{instance}")
}

/// Key of what is known of a drained instance that is not registered any more.
#[must_use]
pub fn absent_drain(service: &str, instance: &str) -> String {
    format!("{ABSENT_DRAINS}{service}/{instance}")
}

/// Key of an incident.
#[must_use]
pub fn incident(id: &str) -> String {
    format!("{INCIDENTS}{id}")
}

/// Key of which incident a dedup key means; `digest` stands for it, since it may be of any length and letters.
#[must_use]
pub fn incident_key(digest: &str) -> String {
    format!("{INCIDENT_KEYS}{digest}")
}

/// Key of a heartbeat.
#[must_use]
pub fn heartbeat(name: &str) -> String {
    format!("{HEARTBEATS}{name}")
}

/// Prefix of all changes of one schedule.
#[must_use]
pub fn schedule_changes(schedule: &str) -> String {
    format!("{ONCALL}{schedule}/")
}

/// Key of a change of a schedule.
#[must_use]
pub fn schedule_change(schedule: &str, id: &str) -> String {
    format!("{ONCALL}{schedule}/{id}")
}

/// Key of a service's roll-up of one UTC day (`yyyy-mm-dd`).
#[must_use]
pub fn slo_day(service: &str, day: &str) -> String {
    format!("{SLO}{service}/{day}")
}

/// Key of what is known of a scheduled report.
#[must_use]
pub fn slo_report(name: &str) -> String {
    format!("{SLO_REPORTS}{name}")
}

/// The segments of `key` behind `prefix`; none when it lies elsewhere.
#[must_use]
pub fn segments<'a>(key: &'a str, prefix: &str) -> Option<Vec<&'a str>> {
    key.strip_prefix(prefix).map(|rest| rest.split('/').collect())
}
