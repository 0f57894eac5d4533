//! Standard Webhooks signatures: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, one per key.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::{Keys, Secret};

/// The value of the header `webhook-signature`: a signature by each key. `timestamp` is in seconds since 1970.
pub(crate) fn sign(keys: &Keys, id: &str, timestamp: i64, body: &[u8]) -> String {
    keys.iter().map(|key| signature(key, id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

fn signature(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn agrees_with_the_standards_example() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let keys = Keys::read(file.to_str(), None).unwrap().unwrap();
        let body = br#"{"test": 2432232314}"#;
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&keys, id, at, body), signature);
        // While keys are replaced each signs, the one in use first.
        let next = dir.path().join("next");
        std::fs::write(&next, "other").unwrap();
        let both = sign(&Keys::read(file.to_str(), next.to_str()).unwrap().unwrap(), id, at, body);
        let other = sign(&Keys::read(next.to_str(), None).unwrap().unwrap(), id, at, body);
        assert_eq!(both, format!("{signature} {other}"));
        assert_ne!(other, signature);
    }
}
