//! `basic_auth_users`: names and bcrypt's hashes. bcrypt is slow on purpose, so pairs that were good are remembered, and the
//! rest is done on threads of its own, a few at a time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// Where passwords are compared, and what was good. That holds for a name with one hash, so it outlives changes of the file.
pub(crate) struct Passwords {
    compared: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Of this process alone, so that nobody else can tell how a pair is remembered.
    key: [u8; 32],
    known: Mutex<HashSet<Vec<u8>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            compared: Arc::new(Semaphore::new(COMPARED_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            key: StdRng::from_os_rng().random(),
            known: Mutex::default(),
        }
    }
}

impl Passwords {
    /// Whether the password has this hash; none: too many are compared already. `mark` is what a user is remembered by.
    async fn compare(&self, password: String, hash: String, mark: Option<&[u8]>) -> Option<bool> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        let compared = Arc::clone(&self.compared).acquire_owned().await.ok()?;
        // The same pair may have been found good meanwhile, for another request.
        if mark.is_some_and(|mark| self.knows(mark)) {
            return Some(true);
        }
        let compare = move || {
            // It counts until it is done, even if whoever asked is gone by then.
            let _counted = (waiting, compared);
            bcrypt::verify(password, &hash).unwrap_or(false)
        };
        Some(tokio::task::spawn_blocking(compare).await.unwrap_or(false))
    }

    fn knows(&self, mark: &[u8]) -> bool {
        self.known().contains(mark)
    }

    fn remember(&self, mark: Vec<u8>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(mark);
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
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

/// The users.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// What the password of somebody unknown is compared with, in vain: the hash that takes longest.
    decoy: String,
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
        Ok((!said.is_empty()).then(|| Self { hashes: said.clone(), decoy }))
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
        let mark = passwords.mark(&name, hash, &password);
        let of_user = user.map(|_| mark.as_slice());
        if of_user.is_some_and(|mark| passwords.knows(mark)) {
            return Login::Good;
        }
        let compared = passwords.compare(password, hash.clone(), of_user).await;
        match compared {
            None => Login::Busy,
            Some(true) if user.is_some() => {
                passwords.remember(mark);
                Login::Good
            }
            Some(_) => Login::Wrong,
        }
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
    use std::{sync::mpsc, task::Poll};

    use tokio::{runtime, task::spawn_blocking};

    use super::*;

    /// Of "secret", with a cost of 4.
    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

    /// Their password is "secret".
    fn of_secret(names: &[&str]) -> Users {
        let said = names.iter().map(|name| ((*name).to_owned(), HASH.to_owned())).collect();
        Users::make(&said).expect("good").expect("some")
    }

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).expect("a header")
    }

    #[tokio::test]
    async fn a_user_by_name_and_password() {
        let (users, passwords) = (of_secret(&["alice", "bob"]), Passwords::default());
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
        assert_eq!(passwords.known().len(), 2, "good pairs, and none else");
        // Nothing is compared any more for whoever is known, however many wait.
        let all = WAITING_MAX.try_into().expect("few");
        let _waiting = passwords.waiting.acquire_many(all).await.expect("open");
        let alice = basic("alice:secret");
        assert_eq!(users.login(Some(&alice), &passwords).await, Login::Good);
        let other = basic("alice:other");
        assert_eq!(users.login(Some(&other), &passwords).await, Login::Busy);
        // So it is after a change of the file: for whoever is still in it.
        let fewer = of_secret(&["alice"]);
        assert_eq!(fewer.login(Some(&alice), &passwords).await, Login::Good);
        assert_eq!(fewer.login(Some(&basic("bob:secret")), &passwords).await, Login::Busy);
    }

    /// The one thread that could compare does something else, until the sender is dropped.
    fn with_nobody_to_compare<F: Future<Output = ()>>(test: impl FnOnce(mpsc::Sender<()>) -> F) {
        let runtime = runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        runtime.expect("a runtime").block_on(async {
            let (go, wait) = mpsc::channel::<()>();
            drop(spawn_blocking(move || wait.recv()));
            test(go).await;
        });
    }

    #[test]
    fn what_is_compared_for_nobody_counts_until_it_is_done() {
        with_nobody_to_compare(async |go| {
            let (users, passwords) = (of_secret(&["alice"]), Passwords::default());
            let free =
                || (passwords.compared.available_permits(), passwords.waiting.available_permits());
            let wrong = basic("alice:wrong");
            for _ in 0..COMPARED_MAX {
                // Whoever asked goes away at once.
                let mut login = Box::pin(users.login(Some(&wrong), &passwords));
                assert!(futures::poll!(login.as_mut()).is_pending());
            }
            assert_eq!(free(), (0, WAITING_MAX - COMPARED_MAX));
            drop(go);
            // The thread does one thing after the other.
            spawn_blocking(|| ()).await.expect("it has run");
            assert_eq!(free(), (COMPARED_MAX, WAITING_MAX));
        });
    }

    #[test]
    fn a_pair_that_is_found_good_meanwhile_is_not_compared_again() {
        with_nobody_to_compare(async |_go| {
            let (users, passwords) = (of_secret(&["alice"]), Passwords::default());
            let all = COMPARED_MAX.try_into().expect("few");
            let compared = passwords.compared.acquire_many(all).await.expect("open");
            let alice = basic("alice:secret");
            let mut login = Box::pin(users.login(Some(&alice), &passwords));
            assert!(futures::poll!(login.as_mut()).is_pending());
            passwords.remember(passwords.mark("alice", HASH, "secret"));
            drop(compared);
            assert_eq!(futures::poll!(login.as_mut()), Poll::Ready(Login::Good));
        });
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
