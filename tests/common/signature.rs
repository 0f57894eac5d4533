//! Standard Webhooks' signature, computed here from the specification and not with our own code.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::receiver::Received;

/// Checks `webhook-signature` of a request against `webhook-id`, `webhook-timestamp` and the body.
///
/// # Panics
/// When it is not the signature that this secret makes, or its time stamp is not of these minutes.
pub fn verify(request: &Received, secret: &[u8]) {
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    assert!(!id.is_empty(), "no webhook-id in {:?}", request.headers);
    let seconds: i64 = timestamp.parse().expect("webhook-timestamp in seconds");
    assert!((chrono::Utc::now().timestamp() - seconds).abs() < 300, "{timestamp}");
    let expected = sign(secret, id, seconds, &request.body);
    let signatures: Vec<&str> = request.header("webhook-signature").split(' ').collect();
    assert!(signatures.contains(&expected.as_str()), "{signatures:?}, expected {expected}");
}

/// The header `webhook-signature` of a request.
pub fn sign(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
