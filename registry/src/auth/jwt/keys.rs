//! Keys that sign and verify: HMAC, RSA (PKCS #1 v1.5 and PSS), ECDSA, Ed25519.

use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{
        self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};

use super::der;

/// Elements of DER that name the curves.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// What a signing method is.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Hmac(hmac::Algorithm),
    Rsa(&'static dyn RsaEncoding, &'static dyn VerificationAlgorithm),
    Ecdsa(&'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm, Curve),
    Ed25519,
}

/// The curve of an ECDSA key: its name in DER, and the length of a point.
#[derive(Clone, Copy)]
pub(super) struct Curve(&'static [u8], usize);

/// By its name in the header of a token.
pub(super) fn method(name: &str) -> Option<(&'static str, Method)> {
    use Method::{Ecdsa, Ed25519, Hmac, Rsa};
    let methods: [(&'static str, Method); 12] = [
        ("HS256", Hmac(hmac::HMAC_SHA256)),
        ("HS384", Hmac(hmac::HMAC_SHA384)),
        ("HS512", Hmac(hmac::HMAC_SHA512)),
        ("RS256", Rsa(&signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256)),
        ("RS384", Rsa(&signature::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384)),
        ("RS512", Rsa(&signature::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512)),
        ("PS256", Rsa(&signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256)),
        ("PS384", Rsa(&signature::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384)),
        ("PS512", Rsa(&signature::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512)),
        (
            "ES256",
            Ecdsa(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                &signature::ECDSA_P256_SHA256_FIXED,
                Curve(P256, 65),
            ),
        ),
        (
            "ES384",
            Ecdsa(
                &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                &signature::ECDSA_P384_SHA384_FIXED,
                Curve(P384, 97),
            ),
        ),
        ("EdDSA", Ed25519),
    ];
    methods.into_iter().find(|(known, _)| *known == name)
}

pub(super) enum Private {
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key, or a pair of them.
pub(super) enum Key {
    Secret(hmac::Key),
    Pair { public: UnparsedPublicKey<Vec<u8>>, private: Option<Private> },
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads the keys that a method needs. An error says what is wrong with which.
    pub(super) fn read(
        method: Method,
        public: Option<&[u8]>,
        private: Option<&[u8]>,
    ) -> Result<Self, &'static str> {
        let algorithm: &'static dyn VerificationAlgorithm = match method {
            Method::Hmac(algorithm) => {
                let secret = private.filter(|secret| !secret.is_empty());
                let secret = secret.ok_or("priv-key: needed, a file with the secret")?;
                return Ok(Self::Secret(hmac::Key::new(algorithm, secret)));
            }
            Method::Rsa(_, algorithm) | Method::Ecdsa(_, algorithm, _) => algorithm,
            Method::Ed25519 => &signature::ED25519,
        };
        let private = private.map(|pem| Private::read(method, pem)).transpose()?;
        let public = public.map(|pem| public_key(method, pem)).transpose()?;
        let own = private.as_ref().map(Private::public);
        let public = match (own, public) {
            (Some(own), Some(public)) if own != public => {
                return Err("pub-key: not the public half of priv-key");
            }
            (Some(own), _) => own,
            (None, Some(public)) => public,
            (None, None) => return Err("pub-key or priv-key: one of them is needed"),
        };
        let public = UnparsedPublicKey::new(algorithm, public);
        Ok(Self::Pair { public, private })
    }

    /// Signs; none: it cannot, there is only the public half.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => Some(hmac::sign(secret, message).as_ref().to_vec()),
            Self::Pair { private, .. } => match private.as_ref()? {
                Private::Rsa(key, encoding) => {
                    let mut signature = vec![0; key.public().modulus_len()];
                    key.sign(*encoding, &random, message, &mut signature).ok()?;
                    Some(signature)
                }
                Private::Ecdsa(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
                Private::Ed25519(key) => Some(key.sign(message).as_ref().to_vec()),
            },
        }
    }

    /// Whether the signature is of this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(secret) => hmac::verify(secret, message, signature).is_ok(),
            Self::Pair { public, .. } => public.verify(message, signature).is_ok(),
        }
    }
}

impl Private {
    fn read(method: Method, pem: &[u8]) -> Result<Self, &'static str> {
        let der =
            PrivateKeyDer::from_pem_slice(pem).map_err(|_| "priv-key: no private key in PEM")?;
        let refused = |_| "priv-key: not a key that sign-method can use";
        match (method, &der) {
            (Method::Rsa(encoding, _), PrivateKeyDer::Pkcs1(key)) => {
                let pair = rsa::KeyPair::from_der(key.secret_pkcs1_der()).map_err(refused)?;
                Ok(Self::Rsa(pair, encoding))
            }
            (Method::Rsa(encoding, _), PrivateKeyDer::Pkcs8(key)) => {
                let pair = rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(refused)?;
                Ok(Self::Rsa(pair, encoding))
            }
            (Method::Ecdsa(algorithm, _, curve), PrivateKeyDer::Sec1(key)) => {
                let pkcs8 = der::pkcs8_of_ec(key.secret_sec1_der(), curve.0);
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new());
                Ok(Self::Ecdsa(pair.map_err(refused)?))
            }
            (Method::Ecdsa(algorithm, ..), PrivateKeyDer::Pkcs8(key)) => {
                let (key, random) = (key.secret_pkcs8_der(), SystemRandom::new());
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, key, &random);
                Ok(Self::Ecdsa(pair.map_err(refused)?))
            }
            (Method::Ed25519, PrivateKeyDer::Pkcs8(key)) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
                Ok(Self::Ed25519(pair.map_err(refused)?))
            }
            _ => Err("priv-key: of another kind than sign-method"),
        }
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair, _) => pair.public().as_ref().to_vec(),
            Self::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

/// A public key as `ring` takes it.
fn public_key(method: Method, pem: &[u8]) -> Result<Vec<u8>, &'static str> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(pem)
        .map_err(|_| "pub-key: no `BEGIN PUBLIC KEY` in PEM")?;
    let key = der::public_key(&info).ok_or("pub-key: not a SubjectPublicKeyInfo")?;
    let fits = match method {
        // An RSAPublicKey is a sequence.
        Method::Rsa(..) => key.len() > 100 && key[0] == 0x30,
        Method::Ecdsa(.., curve) => key.len() == curve.1 && key[0] == 4,
        Method::Ed25519 => key.len() == 32,
        Method::Hmac(_) => false,
    };
    if fits { Ok(key.to_vec()) } else { Err("pub-key: of another kind than sign-method") }
}
