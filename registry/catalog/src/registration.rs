//! Registering, renewing and removing an instance: what the HTTP API and the command line share.

use thiserror::Error;

use crate::{
    Instance, KeyValue,
    client::{Client, ClientError},
    keys,
    record::InstanceError,
};

mod bulk;

pub use bulk::{Wanted, heartbeat_all, register_all};

/// Longest TTL of a registration: a day.
const TTL_SECONDS_MAX: i64 = 86_400;

/// Why a registration failed.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The instance is wrong.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The TTL is out of range.
    #[error(
        "ttl_seconds is {0}: give 1 to {TTL_SECONDS_MAX}, or leave it out to register without a TTL"
    )]
    Ttl(i64),
    /// Two of the same name in one list.
    #[error("instance {0:?} is in the list twice: give each its own id")]
    Twice(String),
    /// There is no such registration.
    #[error("service {service:?} has no instance {instance:?}: register it first")]
    Unknown {
        /// The service.
        service: String,
        /// The instance.
        instance: String,
    },
    /// The registration has no TTL, so there is nothing to renew.
    #[error("instance {0:?} was registered without a TTL: it needs no heartbeat")]
    NoLease(String),
    /// The registry did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Its lease; 0: it has no TTL.
    pub lease: i64,
    /// The revision it was written at.
    pub revision: i64,
}

/// Registers the instance; with a TTL it vanishes unless [`heartbeat`] comes in time.
///
/// # Errors
/// When the instance or the TTL is wrong, or the registry does not answer.
pub async fn register(
    client: &Client,
    instance: &Instance,
    ttl_seconds: Option<i64>,
) -> Result<Registered, RegisterError> {
    instance.validate()?;
    let ttl = ttl_seconds.unwrap_or(0);
    if ttl_seconds.is_some() && !(1..=TTL_SECONDS_MAX).contains(&ttl) {
        return Err(RegisterError::Ttl(ttl));
    }
    let key = keys::instance(&instance.service, &instance.id);
    let before = client.get(&key).await?.map_or(0, |kv| kv.lease);
    let lease = if ttl > 0 { client.grant(ttl).await? } else { 0 };
    let revision = client.put_json(&key, instance, lease).await?;
    if before != 0 {
        // The former registration's lease has no key any more.
        client.revoke(before).await?;
    }
    Ok(Registered { lease, revision })
}

/// Renews a registration's TTL; answers with the seconds it has now.
///
/// # Errors
/// When there is no such registration, it has no TTL, or the registry does not answer.
pub async fn heartbeat(
    client: &Client,
    service: &str,
    instance: &str,
) -> Result<i64, RegisterError> {
    let kv = registered(client, service, instance).await?;
    if kv.lease == 0 {
        return Err(RegisterError::NoLease(instance.to_owned()));
    }
    match client.keep_alive(kv.lease).await? {
        0 => Err(unknown(service, instance)),
        left => Ok(left),
    }
}

/// Removes a registration.
///
/// # Errors
/// When there is no such registration or the registry does not answer.
pub async fn deregister(
    client: &Client,
    service: &str,
    instance: &str,
) -> Result<(), RegisterError> {
    let kv = registered(client, service, instance).await?;
    client.delete(&kv.key).await?;
    if kv.lease != 0 {
        client.revoke(kv.lease).await?;
    }
    Ok(())
}

async fn registered(
    client: &Client,
    service: &str,
    instance: &str,
) -> Result<KeyValue, RegisterError> {
    let found = client.get(&keys::instance(service, instance)).await?;
    found.ok_or_else(|| unknown(service, instance))
}

fn unknown(service: &str, instance: &str) -> RegisterError {
    RegisterError::Unknown { service: service.to_owned(), instance: instance.to_owned() }
}
