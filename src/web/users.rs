//! `basic_auth_users`: names and bcrypt's hashes. bcrypt is slow on purpose, so pairs that were good are remembered, and the
//! rest is done on threads of its own, a few at a time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use axum::http::HeaderValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::Wrong;

/// Passwords compared at once.
const COMPARED_MAX: usize = 2;
/// Passwords that wait for that; more are told to come back.
const WAITING_MAX: usize = 64;
/// Costs that a hash may have: with more, each comparison would take many seconds.
const COST: std::ops::RangeInclusive<u32> = 4..=16;
/// Good pairs that are remembered. There are about as many as users: further ones are forgotten all together.
const KNOWN_MAX: usize = 1_024;

/// What came of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Good,
    /// Nobody is named.
    Missing,
    /// Nobody has that name and that password.
    Wrong,
    /// Too many wait to be compared.
    Busy,
}

/// Where passwords are compared.
pub(crate) struct Passwords {
    compared: Semaphore,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { compared: Semaphore::new(COMPARED_MAX), waiting: Semaphore::new(WAITING_MAX) }
    }
}

impl Passwords {
    /// Whether the password has this hash; none: too many are compared already.
    async fn compare(&self, password: String, hash: String) -> Option<bool> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let _compared = self.compared.acquire().await;
        let compare = move || bcrypt::verify(password, &hash).unwrap_or(false);
        Some(tokio::task::spawn_blocking(compare).await.unwrap_or(false))
    }
}

/// The users.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// What the password of somebody unknown is compared with, in vain: it takes as long as anybody's.
    decoy: String,
    /// Of this process and of this file alone, so that nobody else can tell how a pair is remembered.
    key: [u8; 32],
    known: Mutex<HashSet<Vec<u8>>>,
}

impl Users {
    /// None where there are none.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn make(said: &BTreeMap<String, String>) -> Result<Option<Self>, Vec<Wrong>> {
        let (mut wrong, mut costliest) = (Vec::new(), (0, ""));
        for (name, hash) in said {
            let mut refuse = |message: &str| {
                wrong.push((format!("basic_auth_users.{name}"), message.to_owned()));
            };
            if name.contains(':') {
                refuse("there is a colon in the name, where a browser ends it: give another");
            }
            match hash.parse::<bcrypt::HashParts>() {
                Ok(parts) if COST.contains(&parts.get_cost()) => {
                    if parts.get_cost() > costliest.0 {
                        costliest = (parts.get_cost(), hash.as_str());
                    }
                }
                Ok(parts) => refuse(&format!(
                    "its cost is {}: give a hash with a cost of {} to {}, as `htpasswd -nBC 10 NAME` prints it",
                    parts.get_cost(),
                    COST.start(),
                    COST.end()
                )),
                Err(_) => refuse(
                    "this is no hash of bcrypt's: give what `htpasswd -nBC 10 NAME` prints behind the colon, $2y$…",
                ),
            }
        }
        let decoy = costliest.1.to_owned();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let (hashes, key) = (said.clone(), StdRng::from_os_rng().random());
        let users = Self { hashes, decoy, key, known: Mutex::default() };
        Ok((!said.is_empty()).then_some(users))
    }

    /// Whether the bearer of this `Authorization` is one of them.
    pub(super) async fn login(
        &self,
        authorization: Option<&HeaderValue>,
        passwords: &Passwords,
    ) -> Login {
        let Some(given) = authorization else { return Login::Missing };
        let Some((name, password)) = pair(given) else { return Login::Wrong };
        let user = self.hashes.get(&name);
        let hash = user.unwrap_or(&self.decoy);
        let mark = self.mark(&name, hash, &password);
        if user.is_some() && self.known().contains(&mark) {
            return Login::Good;
        }
        match passwords.compare(password, hash.clone()).await {
            None => Login::Busy,
            Some(true) if user.is_some() => {
                self.remember(mark);
                Login::Good
            }
            Some(_) => Login::Wrong,
        }
    }

    fn remember(&self, mark: Vec<u8>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(mark);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a pair is remembered by.
    fn mark(&self, name: &str, hash: &str, password: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        for part in [name, hash, password] {
            // With its length, so that no two pairs read the same.
            mac.update(&part.len().to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

/// Name and password of `Basic …` (RFC 7617).
fn pair(authorization: &HeaderValue) -> Option<(String, String)> {
    let (scheme, coded) = authorization.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(coded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "secret".
    fn users(names: &[&str]) -> Users {
        let hash = bcrypt::hash("secret", 4).expect("a hash");
        let said = names.iter().map(|name| ((*name).to_owned(), hash.clone())).collect();
        Users::make(&said).expect("good").expect("some")
    }

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).expect("a header")
    }

    #[tokio::test]
    async fn a_user_by_name_and_password() {
        let (users, passwords) = (users(&["alice", "bob"]), Passwords::default());
        for (given, expected) in [
            (Some(basic("alice:secret")), Login::Good),
            (Some(basic("bob:secret")), Login::Good),
            (Some(basic("alice:Secret")), Login::Wrong),
            (Some(basic("alice:")), Login::Wrong),
            (Some(basic("carol:secret")), Login::Wrong),
            (Some(basic("alice")), Login::Wrong),
            (Some(HeaderValue::from_static("Bearer secret")), Login::Wrong),
            (Some(HeaderValue::from_static("Basic %")), Login::Wrong),
            (None, Login::Missing),
        ] {
            assert_eq!(users.login(given.as_ref(), &passwords).await, expected, "{given:?}");
        }
        assert_eq!(users.known().len(), 2, "good pairs, and none else");
        // Nothing is compared any more for whoever is known, however many wait.
        let all = WAITING_MAX.try_into().expect("few");
        let _waiting = passwords.waiting.acquire_many(all).await.expect("open");
        let alice = basic("alice:secret");
        assert_eq!(users.login(Some(&alice), &passwords).await, Login::Good);
        let other = basic("alice:other");
        assert_eq!(users.login(Some(&other), &passwords).await, Login::Busy);
    }

    #[test]
    fn hashes_are_judged() {
        let cheap = bcrypt::hash("secret", 4).expect("a hash");
        for (name, hash, words) in [
            ("alice", "secret".to_owned(), "this is no hash of bcrypt's"),
            ("alice", cheap.replace("$04$", "$30$"), "its cost is 30: give a hash with a cost of"),
            ("a:b", cheap.clone(), "there is a colon in the name"),
        ] {
            let said = BTreeMap::from([(name.to_owned(), hash)]);
            let wrong = Users::make(&said).err().expect("refused");
            assert!(wrong[0].1.starts_with(words), "{wrong:?}");
            assert_eq!(wrong[0].0, format!("basic_auth_users.{name}"));
        }
        assert!(Users::make(&BTreeMap::new()).expect("good").is_none());
    }
}
