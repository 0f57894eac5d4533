//! The registry and its Raft: who leads, do the members keep step, and how quickly is what answered?

use super::{
    board::{Board, FEW, LATENCY, NONE, Panel, SOME, Services, areas, lines, name, stat, states},
    query::{count, max, mean, or_zero, quantile, quantile_of_range, rate},
};

const READING: &str = r#"
**Leader:** one member leads, and *Leader changes* stand still. **Members keep step** when *Replication lag* is near 0 and *Committed* equals *Applied*.
**A slow write** is found from top to bottom: *Time of gRPC calls* (is it?), *Round trip between members* (network), *Fsync* on the dashboard *Storage* (disk), *Time of a proposal, by stage* (which of them).
Lines are red above the promise of 100 ms.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "registry",
        title: "Registry and Raft",
        description: "Who leads, do the members keep step, and how quickly is what answered?",
        metric: "etcd_server_has_leader",
        reading: READING,
        services: Services::No,
        rows: Vec::new(),
    };
    board
        .row("At a glance", glance())
        .row("Raft", raft())
        .row("Requests", requests())
        .row("Keys, watches, leases", keys())
        .row("Leases", leases())
        .row("Members", members())
        .row("Users and certificates", doors())
}

fn glance() -> Vec<Panel> {
    vec![
        stat("Members with a leader", "short", "Members that know a leader. Fewer than all: some are cut off. None: no writes and no linearizable reads.")
            .ask("", "sum(etcd_server_has_leader)").steps(SOME).runbook("WatchkeepNoLeader"),
        name("Leader", "The member that leads.")
            .ask("{{instance}}", "max by (instance) (etcd_server_is_leader) == 1").runbook("WatchkeepNoLeader"),
        stat("Leader changes", "short", "In the time shown, as the member that saw most of them counts.")
            .ask("", "max(increase(etcd_server_leader_changes_seen_total[$__range]))")
            .steps(&[("green", None), ("orange", Some(1.0)), ("red", Some(4.0))]).decimals(0).runbook("WatchkeepLeaderChanges"),
        stat("99th percentile of KV calls", "s", "Reads and writes in the time shown. The promise is 100 ms.")
            .ask("", quantile_of_range("0.99", "", r#"grpc_server_handling_seconds{grpc_service="etcdserverpb.KV"}"#))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        stat("Revision", "none", "Revision of the store: it grows by one with every write transaction.")
            .ask("", "max(watchkeep_registry_revision)").decimals(0),
        stat("Alarms", "short", "NOSPACE refuses puts, CORRUPT refuses every change.")
            .ask("", or_zero("sum(etcd_debugging_server_alarms)", "etcd_server_has_leader"))
            .steps(NONE).runbook("WatchkeepCorrupt").runbook("WatchkeepNoSpace"),
    ]
}

fn raft() -> Vec<Panel> {
    vec![
        states("Leader over time", "Who leads.", &[("follows", "super-light-blue"), ("leads", "green")])
            .ask("{{instance}}", max("instance", "etcd_server_is_leader")).runbook("WatchkeepNoLeader"),
        states("Role", "The role each member has.", &[("has it not", "transparent"), ("has it", "blue")])
            .ask("{{instance}} {{role}}", "max by (instance, role) (watchkeep_registry_raft_role) == 1").runbook("WatchkeepLeaderChanges"),
        lines("Term", "none", "It grows with every election; a term that keeps growing means elections that fail.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_raft_term")).free().decimals(0).runbook("WatchkeepLeaderChanges"),
        lines("Elections called", "ops", "Candidacies, won or not. Each should have a cause that you know.")
            .ask("{{instance}}", rate("instance", "watchkeep_registry_elections_called_total")).runbook("WatchkeepLeaderChanges"),
        lines("Committed and applied", "ops", "Log entries per second. They keep step.")
            .ask("{{instance}} committed", rate("instance", "etcd_server_proposals_committed_total"))
            .ask("{{instance}} applied", rate("instance", "etcd_server_proposals_applied_total")),
        lines("Replication lag", "short", "On the leader: log entries that a member has not confirmed yet. A member that stays behind is down, cut off or slow.")
            .ask("member {{peer}}", max("peer", "watchkeep_registry_replication_lag_entries"))
            .steps(&[("green", None), ("red", Some(1000.0))]).runbook("WatchkeepReplicationLag"),
        lines("Round trip between members", "s", "99th percentile of the time from a Raft message to its answer, the receiver's fsync included.")
            .ask("{{instance}} to {{To}}", quantile("0.99", "instance, To", "etcd_network_peer_round_trip_time_seconds"))
            .steps(LATENCY).runbook("WatchkeepReplicationLag"),
        lines("Traffic between members", "Bps", "Log sent to each member, and Raft messages received from each.")
            .ask("{{instance}} to {{To}}", rate("instance, To", "etcd_network_peer_sent_bytes_total"))
            .ask("{{instance}} from {{From}}", rate("instance, From", "etcd_network_peer_received_bytes_total")),
        lines("Time of a proposal, by stage", "s", "Median and 99th percentile. committed: from the leader's queue to the answer. applied: applying a batch of entries.")
            .ask("{{stage}} 50 %", quantile("0.5", "stage", "watchkeep_registry_proposal_stage_seconds"))
            .ask("{{stage}} 99 %", quantile("0.99", "stage", "watchkeep_registry_proposal_stage_seconds"))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Stages of a commit on the leader", "s", "Percentiles of the newest entries' time in each stage, as the leader's Raft measures them.")
            .ask("{{stage}} {{percentile}}", max("stage, percentile", "watchkeep_registry_commit_stage_seconds"))
            .steps(LATENCY).runbook("WatchkeepSlowRequests"),
        lines("Proposals pending and failed", "short", "Pending: not answered yet. Failed: per second, refused or out of time.")
            .ask("{{instance}} pending", "sum by (instance) (etcd_server_proposals_pending)")
            .ask("{{instance}} failed/s", rate("instance", "etcd_server_proposals_failed_total")).runbook("WatchkeepNoLeader"),
        lines("Entries applied in one go", "short", "The mean: many at once mean that a member catches up, or that writers come in crowds.")
            .ask("{{instance}}", mean("instance", "watchkeep_registry_apply_batch_entries")),
        lines("Slow and failed", "ops", "Batches that took longer than 100 ms to apply, reads whose index took longer than 500 ms or did not come, messages to members without an answer.")
            .ask("{{instance}} slow apply", rate("instance", "etcd_server_slow_apply_total"))
            .ask("{{instance}} slow read index", rate("instance", "etcd_server_slow_read_indexes_total"))
            .ask("{{instance}} failed read index", rate("instance", "etcd_server_read_indexes_failed_total"))
            .ask("{{instance}} heartbeats unanswered", rate("instance", "etcd_server_heartbeat_send_failures_total"))
            .ask("{{instance}} messages unanswered", or_zero(&rate("instance", "etcd_network_peer_sent_failures_total"), "etcd_server_has_leader"))
            .runbook("WatchkeepReplicationLag"),
    ]
}

fn requests() -> Vec<Panel> {
    vec![
        areas(
            "gRPC calls begun",
            "reqps",
            "Per second, by method. Streams count once, when they are opened.",
        )
        .ask(
            "{{grpc_service}}/{{grpc_method}}",
            rate("grpc_service, grpc_method", "grpc_server_started_total"),
        ),
        areas(
            "gRPC calls ended, by code",
            "reqps",
            "OK and Canceled are healthy; Unavailable means that no leader was in reach.",
        )
        .ask("{{grpc_code}}", rate("grpc_code", "grpc_server_handled_total"))
        .runbook("WatchkeepNoLeader"),
        lines(
            "Time of gRPC calls",
            "s",
            "99th percentile of unary calls, by method. The promise is 100 ms.",
        )
        .ask(
            "{{grpc_service}}/{{grpc_method}}",
            quantile("0.99", "grpc_service, grpc_method", "grpc_server_handling_seconds"),
        )
        .steps(LATENCY)
        .runbook("WatchkeepSlowRequests"),
        lines(
            "Messages on streams",
            "ops",
            "gRPC messages sent on streams, watches above all, and received.",
        )
        .ask(
            "{{grpc_method}}, sent",
            rate("grpc_method", r#"grpc_server_msg_sent_total{grpc_type!="unary"}"#),
        )
        .ask(
            "{{grpc_method}}, received",
            rate("grpc_method", r#"grpc_server_msg_received_total{grpc_type!="unary"}"#),
        ),
        lines("Client traffic", "Bps", "Bytes on clients' connections, TLS and framing included.")
            .ask(
                "{{instance}} received",
                rate("instance", "etcd_network_client_grpc_received_bytes_total"),
            )
            .ask(
                "{{instance}} sent",
                rate("instance", "etcd_network_client_grpc_sent_bytes_total"),
            ),
        areas(
            "Calls by client's version",
            "reqps",
            "What clients say that they speak: who has to be moved before an old version goes?",
        )
        .ask(
            "{{client_api_version}} {{type}}",
            rate("client_api_version, type", "etcd_server_client_requests_total"),
        ),
    ]
}

fn keys() -> Vec<Panel> {
    vec![
        lines("Keys", "short", "Keys that exist, as the engine estimates.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_keys")).runbook("WatchkeepStorageGrowth"),
        areas("Operations applied", "ops", "Puts, deletes and transactions, each counted once (by the member that saw most), and ranges by all.")
            .ask("put", "max(rate(etcd_mvcc_put_total[$__rate_interval]))")
            .ask("delete", "max(rate(etcd_mvcc_delete_total[$__rate_interval]))")
            .ask("txn", "max(rate(etcd_mvcc_txn_total[$__rate_interval]))")
            .ask("range", "sum(rate(etcd_mvcc_range_total[$__rate_interval]))"),
        lines("Revisions", "ops", "Revisions per second, and revisions of history kept in thousands.")
            .ask("revisions/s", "max(rate(watchkeep_registry_revision[$__rate_interval]))")
            .ask("kept, thousands", "(max(watchkeep_registry_revision) - max(watchkeep_registry_compact_revision)) / 1000")
            .runbook("WatchkeepStorageGrowth"),
        lines("Watchers", "short", "Watchers by member, and the streams that carry them.")
            .ask("{{instance}} watchers", "sum by (instance) (watchkeep_registry_watchers)")
            .ask("{{instance}} streams", max("instance", "watchkeep_registry_watch_streams")),
        lines("Events to watchers", "ops", "Events per second.")
            .ask("{{instance}}", rate("instance", "etcd_debugging_mvcc_events_total")),
        lines("Watchers that are behind", "short", "Watchers at least so many revisions behind the store: their clients read too slowly. And the furthest of all.")
            .ask("{{revisions}} revisions", "sum by (revisions) (watchkeep_registry_watchers_behind)")
            .ask("furthest, revisions", or_zero("max(watchkeep_registry_watcher_lag_revisions)", "watchkeep_registry_watchers")),
        lines("Watched from", "ops", "Batches of revisions looked through for watchers. From the table: for those that have fallen behind memory.")
            .ask("{{source}}", rate("source", "watchkeep_registry_watch_batches_total")),
    ]
}

fn leases() -> Vec<Panel> {
    vec![
        lines("Leases that exist", "short", "Leases that exist, by the member that knows most.").ask("leases", "max(watchkeep_registry_leases)"),
        lines("Leases granted, renewed, revoked", "ops", "As each member counts them; the leader answers renewals.")
            .ask("granted", "max(rate(etcd_debugging_lease_granted_total[$__rate_interval]))")
            .ask("{{instance}} renewed", rate("instance", "etcd_debugging_lease_renewed_total"))
            .ask("revoked", "max(rate(etcd_debugging_lease_revoked_total[$__rate_interval]))"),
        lines("Leases that have run out", "short", "On the leader: leases that wait to be revoked, and those revoked each second. Waiting ones are revoked at 2,000 a second.")
            .ask("waiting", "max(watchkeep_registry_leases_due)")
            .ask("revoked/s", "sum(rate(watchkeep_registry_lease_expired_total[$__rate_interval]))"),
        lines("Revoked late by", "s", "99th percentile of the time from a lease's end to its revocation, in the time shown.")
            .ask("late", quantile_of_range("0.99", "", "watchkeep_registry_lease_expiry_lateness_seconds")),
        lines("Leases renewed in one call", "short", "Mean, as the leader sees them.")
            .ask("leases", mean("", "watchkeep_registry_lease_renewal_batch")),
        lines("Life of a lease", "s", "Mean TTL of the leases granted in the time shown, and notes in the log per second of what is left of long ones.")
            .ask("TTL", "sum(increase(etcd_debugging_lease_ttl_total_sum[$__range])) / sum(increase(etcd_debugging_lease_ttl_total_count[$__range]))")
            .ask("notes/s", rate("", "watchkeep_registry_lease_checkpoints_total")),
    ]
}

fn members() -> Vec<Panel> {
    vec![
        lines("Members heard", "short", "Other members that each was heard by lately, of those that there are: by the leader all, by the others the leader.")
            .ask("{{instance}} heard", "sum by (instance) (etcd_network_active_peers)")
            .ask("{{instance}} known", "sum by (instance) (etcd_network_known_peers)").runbook("WatchkeepReplicationLag"),
        lines("Learners and promotions", "short", "Members that do not vote yet, and learners that became voters.")
            .ask("learners", "sum(etcd_server_is_learner)")
            .ask("{{instance}} promoted", "sum by (instance) (etcd_server_learner_promote_successes)"),
        lines("Versions", "short", "Members by the version of etcd whose semantics hold, and what the cluster speaks. During an upgrade there are two.")
            .ask("member {{server_version}}", "count by (server_version) (etcd_server_version == 1)")
            .ask("cluster {{cluster_version}}", "max by (cluster_version) (etcd_cluster_version)"),
        lines("Members compared", "ops", "Comparisons of a part of the data with another member, by what came out.")
            .ask("{{result}}", rate("result", "watchkeep_registry_corruption_checks_total"))
            .runbook("WatchkeepMembersNotCompared").runbook("WatchkeepCorrupt"),
        lines("Time to compare everything", "s", "How long the last comparison of all keys took. A difference is noticed within that time.")
            .ask("round", "max(watchkeep_registry_corruption_check_round_seconds)").runbook("WatchkeepMembersNotCompared"),
        lines("Health answers", "ops", "Answers of /health per second, and checks of /livez and /readyz by result.")
            .ask("{{instance}} well", rate("instance", "etcd_server_health_success"))
            .ask("{{instance}} unwell", rate("instance", "etcd_server_health_failures"))
            .ask("{{type}} {{name}} {{status}}", rate("type, name, status", "etcd_server_healthchecks_total")),
        states("Health checks", "What each check of /livez and /readyz last gave.", &[("unwell", "red"), ("well", "green")])
            .ask("{{type}} {{name}}", "min by (type, name) (etcd_server_healthcheck)").size(24, 7).runbook("WatchkeepNoLeader"),
    ]
}

fn doors() -> Vec<Panel> {
    vec![
        stat("Users are checked", "bool_on_off", "Whether callers have to say who they are.")
            .ask("", "max(watchkeep_registry_auth_enabled)"),
        stat("Revision of users", "none", "It grows with every change of users, roles and permissions.")
            .ask("", "max(etcd_debugging_auth_revision)").decimals(0),
        lines("Logins and refusals", "ops", "Logins by result, and calls that were refused for who made them.")
            .ask("login {{result}}", rate("result", "watchkeep_registry_auth_logins_total"))
            .ask("refused: {{reason}}", rate("reason", "watchkeep_registry_auth_refusals_total")),
        lines("Tokens", "short", "Simple tokens that each member knows.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_auth_tokens")),
        lines("Certificates end in", "s", "Until the end of the certificate in use, where a listener has one. A new file is taken up without a restart.")
            .ask("{{instance}}, {{listener}}", "min by (instance, listener) (watchkeep_registry_tls_certificate_expiry_timestamp_seconds or watchkeep_http_tls_certificate_expiry_timestamp_seconds) - time()").free()
            .runbook("WatchkeepCertificateExpires"),
        lines("Connections refused by TLS", "ops", "Callers without TLS, without a certificate where one is demanded, or with one that is not trusted. The log says which.")
            .ask("{{instance}}, {{listener}}", rate("instance, listener", "watchkeep_registry_tls_connections_refused_total")),
        lines("Certificate files changed", "short", "In the time shown: taken up, or refused since they are of no use. Then the former ones stay.")
            .ask("{{listener}}, {{result}}", count("listener, result", "watchkeep_registry_tls_reloads_total")).steps(FEW),
    ]
}
