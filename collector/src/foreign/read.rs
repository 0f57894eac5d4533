//! From a foreign key and its value to an instance. Pure.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};
use watchkeep_catalog::Instance;

use super::config::{FROM_KEY, ForeignConfig, Format};

/// In the metadata of every instance that is mirrored: the key it comes from.
pub(super) const MARK: &str = "watchkeep.foreign";
/// Entries of foreign metadata that are taken.
const METADATA_MAX: usize = 64;
/// Longest value of foreign metadata in bytes; longer ones are left out.
const METADATA_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Addr")]
    addr: String,
    #[serde(rename = "Metadata", default)]
    metadata: Value,
}

/// The instance that a key of `config` stands for, or what is wrong with it.
pub(super) fn read(config: &ForeignConfig, key: &str, value: &[u8]) -> Result<Instance, String> {
    let rest = key.strip_prefix(&config.prefix).unwrap_or(key).trim_start_matches('/');
    let (between, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    let (address, metadata) = match config.format {
        Format::GrpcEndpoints => {
            let endpoint: Endpoint = serde_json::from_slice(value)
                .map_err(|e| format!("the value is no gRPC endpoint: {e}"))?;
            (endpoint.addr, endpoint.metadata)
        }
        Format::HostPort => {
            let text = std::str::from_utf8(value)
                .map_err(|_| "the value is no host:port: it is not UTF-8".to_owned())?;
            (text.trim().to_owned(), Value::Null)
        }
    };
    let (host, port) = host_port(&address)?;
    let mut metadata = texts(metadata);
    metadata.insert(MARK.to_owned(), key.to_owned());
    let mut instance: Instance = serde_json::from_value(json!({
        "service": service(config, between)?,
        "id": id(if last.is_empty() { &address } else { last }),
        "address": host,
        "port": port,
        "zone": take(&mut metadata, "zone"),
        "role": take(&mut metadata, "role"),
        "weight": take(&mut metadata, "weight").parse().unwrap_or(1_u32),
        "metadata": metadata,
    }))
    .map_err(|e| e.to_string())?;
    instance.checks = config.checks.iter().cloned().map(Arc::new).collect();
    instance.validate().map_err(|e| e.to_string())?;
    Ok(instance)
}

fn take(metadata: &mut BTreeMap<String, String>, field: &str) -> String {
    metadata.remove(field).unwrap_or_default()
}

fn service(config: &ForeignConfig, between: &str) -> Result<String, String> {
    if !config.service.contains(FROM_KEY) {
        return Ok(config.service.clone());
    }
    if between.is_empty() {
        return Err(format!(
            "the key has nothing between {:?} and its last segment that could name a service: say it in foreign.service",
            config.prefix
        ));
    }
    let parts: Vec<&str> = between.split('/').filter(|part| !part.is_empty()).collect();
    Ok(config.service.replace(FROM_KEY, &parts.join(".")))
}

/// `10.0.0.1:80`, `host:80`, `[::1]:80`.
fn host_port(address: &str) -> Result<(String, u16), String> {
    let bad = || format!("the address is {address:?}: it should be host:port");
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6,
        None if host.contains(':') => return Err(bad()),
        None => host,
    };
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

/// A segment as an id: what an id may not have becomes `-`.
fn id(segment: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let id: String = segment.chars().map(clean).collect();
    id.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// An object's members as texts; anything else under `metadata`.
fn texts(metadata: Value) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let all: Vec<(String, String)> = match metadata {
        Value::Null => Vec::new(),
        Value::Object(members) => members.into_iter().map(|(name, v)| (name, text(v))).collect(),
        other => vec![("metadata".to_owned(), text(other))],
    };
    let short = |(_, value): &(String, String)| value.len() <= METADATA_BYTES_MAX;
    all.into_iter().filter(short).take(METADATA_MAX).collect()
}
