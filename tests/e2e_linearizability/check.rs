//! Every check over one history.

mod lease;
mod member;
mod order;
mod register;
mod watch;

use crate::{history::History, truth::Truth};

/// What is wrong with it, each with the name of the check that found it.
pub(crate) fn check(history: &History) -> Vec<String> {
    let mut wrong = named("members", member::agree(&history.accounts));
    let account = history.accounts.values().next().map_or(&[][..], Vec::as_slice);
    match Truth::new(account) {
        Ok(truth) => {
            wrong.extend(named("order", order::check(history, &truth)));
            wrong.extend(named("watch", watch::check(history, &truth)));
            wrong.extend(named("lease", lease::check(history, &truth)));
        }
        Err(error) => wrong.extend(named("account", vec![error])),
    }
    wrong.extend(named("register", register::check(history)));
    wrong.extend(named("serializable", member::check(history)));
    wrong
}

fn named(check: &str, wrong: Vec<String>) -> Vec<String> {
    wrong.into_iter().map(|what| format!("{check}: {what}")).collect()
}
