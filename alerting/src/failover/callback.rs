//! The callback's request. Pure.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use watchkeep_catalog::{Failover, Time};

use crate::{
    config::{FailoverPolicy, Secret},
    mirror::Versioned,
    post::Post,
};

/// The body; the same bytes at every attempt.
#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    idempotency_key: &'a str,
    fencing_token: i64,
    policy: &'a str,
    service: &'a str,
    instance: &'a str,
    reason: &'a str,
    decided_at: Time,
    incident: &'a str,
}

/// Makes the request of one attempt at `timestamp` (seconds since 1970).
pub(super) fn request<'a>(
    policy: &'a FailoverPolicy,
    failover: &'a Versioned<Failover>,
    secret: Option<&'a Secret>,
    trace_parent: Option<String>,
    timestamp: i64,
) -> Post<'a> {
    let record = &failover.record;
    let body = Body {
        version: 1,
        idempotency_key: &record.id,
        fencing_token: failover.create_revision,
        policy: &record.policy,
        service: &record.service,
        instance: &record.instance,
        reason: &record.reason,
        decided_at: record.decided_at,
        incident: &record.incident,
    };
    Post {
        url: &policy.callback.url,
        idempotency_key: &record.id,
        secret,
        trace_parent: Some(trace_parent.unwrap_or_else(|| untraced(&record.id))),
        fencing_token: Some(failover.create_revision),
        // Strings, a number and an instant always have a JSON form.
        body: serde_json::to_vec(&body).unwrap_or_default(),
        timeout: Duration::from_millis(policy.callback.timeout_ms),
        timestamp,
    }
}

/// A `traceparent` for a failover that nobody traces, so that the receiver's own trace has a root that is the
/// same at every attempt. Its flags say that it is not sampled.
fn untraced(id: &str) -> String {
    let digest = hex::encode(Sha256::digest(id.as_bytes()));
    format!("00-{}-{}-00", &digest[..32], &digest[32..48])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{opened_failover, rules};

    #[test]
    fn every_attempt_has_the_same_body_key_and_token() {
        let rules = rules();
        let failover =
            Versioned { record: opened_failover(), create_revision: 42, mod_revision: 42 };
        let mut later = failover.clone();
        later.mod_revision = 99;
        let first = request(&rules.policies[0], &failover, None, None, 1);
        let second = request(&rules.policies[0], &later, None, None, 2);
        assert_eq!(first.body, second.body);
        assert_eq!(first.trace_parent, second.trace_parent);
        assert_eq!(first.trace_parent.as_ref().map(String::len), Some(55));
        assert_eq!(
            (second.idempotency_key, second.fencing_token),
            ("20260105-090000-06565308.any-primary", Some(42))
        );
        let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
        insta::assert_snapshot!("body", serde_json::to_string_pretty(&body).unwrap());
    }
}
