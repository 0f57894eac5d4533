//! A service reports itself: what the HTTP API and the command line share.

use thiserror::Error;

use crate::{
    Instance, Report, ReportStatus, Time,
    client::{Client, ClientError},
    keys,
    name::NameError,
};

/// Most bytes of a report's words; what is longer is cut.
const OUTPUT_BYTES_MAX: usize = 4096;

/// Why a report was not taken.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A name cannot be a key segment.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such registration.
    #[error("service {service:?} has no instance {instance:?}: register it first")]
    Unknown {
        /// The service.
        service: String,
        /// The instance.
        instance: String,
    },
    /// The instance has no such check.
    #[error("instance {instance:?} has no check {check:?} of kind ttl; it has {known}")]
    NoCheck {
        /// The instance.
        instance: String,
        /// The check.
        check: String,
        /// Those that take reports.
        known: String,
    },
    /// The registry did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Takes a report of `check`, which stands for the check's `ttl_ms`; answers with those milliseconds.
///
/// # Errors
/// When there is no such check, or the registry does not answer.
pub async fn report(
    client: &Client,
    (service, instance, check): (&str, &str, &str),
    (status, output): (ReportStatus, &str),
    now: Time,
) -> Result<u64, ReportError> {
    for (what, name) in [("service", service), ("instance", instance), ("check", check)] {
        crate::check_name(what, name)?;
    }
    let key = keys::report(service, instance, check);
    let (instance_key, known) = (keys::instance(service, instance), client.get(&key));
    let (registered, known) = tokio::join!(client.get(&instance_key), known);
    let registered = registered?.ok_or_else(|| ReportError::Unknown {
        service: service.to_owned(),
        instance: instance.to_owned(),
    })?;
    let registered: Instance = registered.json()?;
    let ttl = ttl(&registered, check)?;
    let (seconds, output) = (ttl.ttl_seconds(), cut(output));
    // A lease that was granted for another time, because the check has changed, is left to run out.
    let lease = match known? {
        Some(known) if known.lease != 0 && client.keep_alive(known.lease).await? == seconds => {
            let same = |said: Report| said.status == status && said.output == output;
            if known.json().is_ok_and(same) {
                return Ok(ttl.ttl_ms);
            }
            known.lease
        }
        _ => client.grant(seconds).await?,
    };
    let report = Report { status, output: output.to_owned(), since: now };
    client.put_json(&key, &report, lease).await?;
    Ok(ttl.ttl_ms)
}

fn ttl<'a>(instance: &'a Instance, check: &str) -> Result<&'a crate::TtlCheck, ReportError> {
    let found = instance.checks.iter().find(|known| known.name == check);
    found.and_then(|found| found.ttl.as_deref()).ok_or_else(|| {
        let ttl = instance.checks.iter().filter(|known| known.ttl.is_some());
        let known: Vec<_> = ttl.map(|known| known.name.as_str()).collect();
        ReportError::NoCheck {
            instance: instance.id.clone(),
            check: check.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        }
    })
}

/// The first of a text's bytes, whole letters only.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}ä", "x".repeat(OUTPUT_BYTES_MAX - 1));
        assert_eq!(cut(&long).len(), OUTPUT_BYTES_MAX - 1);
    }

    #[test]
    fn only_checks_of_kind_ttl_take_reports() {
        let instance: Instance = serde_json::from_str(
            r#"{"id":"w1","address":"h","port":80,"checks":[{"name":"a","tcp":{}},{"name":"b","ttl":{"ttl_ms":1500}}]}"#,
        )
        .expect("an instance");
        assert_eq!(ttl(&instance, "b").expect("a ttl").ttl_seconds(), 2);
        for check in ["a", "c"] {
            let error = ttl(&instance, check).expect_err("no ttl").to_string();
            assert_eq!(
                error,
                format!("instance \"w1\" has no check {check:?} of kind ttl; it has b")
            );
        }
    }
}
