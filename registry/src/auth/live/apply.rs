//! Commands of the log: whether their users may, and what changes users and roles.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Auth, Provider, check::admin};
use crate::{
    auth::{
        judge,
        tables::{self, Tables},
    },
    mvcc::{self, Effects, Place, Refusal, View, ViewError},
    schema::{Applied, Auth as AuthCommand, AuthAction, AuthOutcome, Body, Command},
};

impl Auth {
    /// Applies a command, if its user may. A member's own commands carry no revision and are not asked.
    pub(crate) fn apply<V: View>(
        &self,
        view: &V,
        applied: &mut Applied,
        command: &Command,
        place: Place,
    ) -> Result<Effects, ViewError> {
        if let Some(Body::Auth(change)) = &command.body {
            return Ok(self.change(change, applied, command, place));
        }
        if self.enabled() && command.auth_revision != 0 {
            let tables = self.tables();
            let refused = match self.known(&tables, &command.auth_user, command.auth_revision) {
                Err(refusal) => Some(refusal),
                Ok(grants) => match &command.body {
                    Some(body) => judge::judge(grants, body, view)?.err(),
                    None => None,
                },
            };
            if let Some(refusal) = refused {
                return Ok(answer(applied, place, Err(refusal), tables.revision()));
            }
        }
        mvcc::apply(view, applied, command, place)
    }

    fn change(
        &self,
        change: &AuthCommand,
        applied: &Applied,
        command: &Command,
        place: Place,
    ) -> Effects {
        let mut tables = Tables::clone(&self.tables());
        let result = match &change.action {
            None => Ok(tables::Change::default()),
            // Who logs in is not known yet.
            Some(action @ AuthAction::Login(_)) => tables.apply(action),
            Some(action) => admin(&tables, &command.auth_user).and_then(|()| tables.apply(action)),
        };
        let change_made = match result {
            Ok(change_made) => change_made,
            Err(refusal) => return answer(applied, place, Err(refusal), tables.revision()),
        };
        if let Provider::Simple(tokens) = &self.provider {
            if change_made.disabled {
                tokens.clear();
            }
            if let Some(user) = &change_made.invalidated {
                tokens.forget(user);
            }
            if let Some(AuthAction::Login(login)) = &change.action {
                tokens.add(&login.token_hash, &login.user, Instant::now());
            }
        }
        let mut effects = answer(applied, place, Ok(()), tables.revision());
        if !change_made.writes.is_empty() {
            effects.writes = change_made.writes;
            self.publish(Arc::new(tables));
        }
        effects
    }
}

/// The effects of a command that changes no key.
fn answer(applied: &Applied, place: Place, result: Result<(), Refusal>, revision: u64) -> Effects {
    let mut effects = Effects::default();
    effects.outcome.refusal = result.err().map_or(0, |refusal| refusal as u32);
    effects.outcome.revision = applied.revision;
    effects.outcome.term = place.term;
    effects.outcome.auth = Some(AuthOutcome { index: applied.index, revision });
    effects
}
