//! Simple tokens: a random word and the log index of the login, `kKxZvFmRqAbXcUdY.1234`, as etcd's.
//!
//! The login goes through the log, so that a token is good on every member; a member that has not come as far in the
//! log waits for it. The log has a hash of the word, and memory too. A token lives [`TTL`] after it was last used on a
//! member, and is gone when the member starts anew: its client logs in again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a token lives without being used: etcd's default.
pub(crate) const TTL: Duration = Duration::from_secs(300);
/// Tokens remembered; beyond it, the one that would end first is forgotten.
const TOKENS_MAX: usize = 100_000;
/// Length of the random word: etcd's.
const WORD_LETTERS: usize = 16;
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

type Hash = [u8; 32];

struct Known {
    user: Arc<str>,
    until: Instant,
}

/// The tokens that a member knows.
#[derive(Default)]
pub(crate) struct SimpleTokens(Mutex<HashMap<Hash, Known>>);

/// A token taken apart.
pub(crate) struct Parsed {
    hash: Hash,
    /// Log index of the login.
    pub(crate) index: u64,
}

/// A new random word from the system's own generator, since it must not be guessed; none: that one fails.
pub(crate) fn new_word() -> Option<String> {
    let mut word = String::with_capacity(WORD_LETTERS);
    while word.len() < WORD_LETTERS {
        let mut bytes = [0; 2 * WORD_LETTERS];
        SystemRandom::new().fill(&mut bytes).ok()?;
        // Each letter as likely as any other: what does not divide evenly is drawn again.
        let even = bytes.into_iter().map(usize::from).filter(|byte| *byte < 4 * LETTERS.len());
        let letters = even.map(|byte| char::from(LETTERS[byte % LETTERS.len()]));
        word.extend(letters.take(WORD_LETTERS - word.len()));
    }
    Some(word)
}

/// What the log has of a word.
pub(crate) fn hash(word: &str) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(word))
}

/// Takes a token apart; none: it is not one.
pub(crate) fn parse(token: &str) -> Option<Parsed> {
    let (word, index) = token.split_once('.')?;
    Some(Parsed { hash: Sha256::digest(word).into(), index: index.parse().ok()? })
}

impl SimpleTokens {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a token.
    pub(crate) fn add(&self, hash: &[u8], user: &str, now: Instant) {
        let Ok(hash) = Hash::try_from(hash) else { return };
        let mut tokens = self.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, known| known.until > now);
        }
        if tokens.len() >= TOKENS_MAX {
            let first = tokens.iter().min_by_key(|(_, known)| known.until).map(|(hash, _)| *hash);
            first.map(|hash| tokens.remove(&hash));
        }
        tokens.insert(hash, Known { user: user.into(), until: now + TTL });
    }

    /// Whose token it is; it lives on from `now`.
    pub(crate) fn user(&self, token: &Parsed, now: Instant) -> Option<Arc<str>> {
        let mut tokens = self.lock();
        let known = tokens.get_mut(&token.hash)?;
        if known.until <= now {
            tokens.remove(&token.hash);
            return None;
        }
        known.until = now + TTL;
        Some(Arc::clone(&known.user))
    }

    /// Forgets a user's tokens.
    pub(crate) fn forget(&self, user: &str) {
        self.lock().retain(|_, known| &*known.user != user);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many there are; those that have ended are forgotten by this.
    pub(crate) fn count(&self, now: Instant) -> usize {
        let mut tokens = self.lock();
        tokens.retain(|_, known| known.until > now);
        tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_while_it_is_used() {
        let (tokens, begin) = (SimpleTokens::default(), Instant::now());
        let word = new_word().expect("a word");
        assert_eq!(word.len(), WORD_LETTERS);
        tokens.add(&hash(&word), "ann", begin);
        let token = parse(&format!("{word}.7")).expect("it is a token");
        assert_eq!(token.index, 7);
        let user = |at: Duration| tokens.user(&token, begin + at).map(|user| user.to_string());
        assert_eq!(user(TTL - Duration::from_secs(1)).as_deref(), Some("ann"));
        assert_eq!(user(TTL + TTL - Duration::from_secs(2)).as_deref(), Some("ann"), "used since");
        assert_eq!(user(TTL * 4), None, "not used for too long");
        tokens.add(&hash(&word), "ann", begin);
        tokens.add(&hash("other"), "bob", begin);
        tokens.forget("ann");
        assert_eq!(user(Duration::ZERO), None);
        assert_eq!(tokens.count(begin), 1);
        assert_eq!(tokens.count(begin + TTL), 0);
    }

    #[test]
    fn what_is_no_token() {
        for text in ["", "word", "word.", "word.x", "word.-1", "word.1.2"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
