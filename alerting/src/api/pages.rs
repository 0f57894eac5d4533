//! Lists that grow long: the latest first, a page at a time. Where the next page begins is the revision that created the
//! last record of this one.

use watchkeep_catalog::{Client, ClientError, KeyValue};

use super::Problem;

/// Records in one answer, where nobody says how many.
const LIMIT: usize = 100;
/// Most in one answer.
const LIMIT_MAX: usize = 1_000;
/// Records that are looked at first where some are asked for.
const SEARCHED_FIRST: usize = 500;

/// Which page is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    limit: usize,
    before: Option<i64>,
}

impl Page {
    pub(super) fn read(limit: Option<usize>, before: Option<i64>) -> Result<Self, Problem> {
        if let Some(before) = before.filter(|before| *before < 1) {
            return Err(Problem::bad_request(format!(
                "before {before} is out of range: give the `next` of the answer before"
            )));
        }
        match limit.unwrap_or(LIMIT) {
            limit @ 1..=LIMIT_MAX => Ok(Self { limit, before }),
            limit => Err(Problem::bad_request(format!(
                "limit {limit} is out of range: give 1 to {LIMIT_MAX}"
            ))),
        }
    }

    /// What `take` takes of the records under `prefix`, and where the next page begins, if there is one. `all`: it takes
    /// about all of them.
    pub(super) async fn of<T>(
        self,
        client: &Client,
        prefix: &str,
        all: bool,
        take: impl Fn(&KeyValue) -> Option<T>,
    ) -> Result<(Vec<T>, Option<i64>), ClientError> {
        let (mut found, mut before) = (Vec::new(), self.before);
        let mut page = if all { self.limit + 1 } else { SEARCHED_FIRST };
        let more = loop {
            let latest = client.list_latest(prefix, before, page).await?;
            before = latest.kvs.last().map(|kv| kv.create_revision).or(before);
            found.extend(latest.kvs.iter().filter_map(|kv| Some((kv.create_revision, take(kv)?))));
            if !latest.more || found.len() > self.limit {
                break latest.more;
            }
            // Each page costs the registry a walk through all of them: few, of growing size.
            page = page.saturating_mul(4);
        };
        let next = cut(&mut found, self.limit, more);
        Ok((found.into_iter().map(|(_, one)| one).collect(), next))
    }
}

/// Cuts after `limit`, but not between those that one transaction created; the revision behind which it goes on, if it
/// does: with what is cut off, or with `more` that was not looked at.
fn cut<T>(found: &mut Vec<(i64, T)>, limit: usize, more: bool) -> Option<i64> {
    let last = found.get(limit.checked_sub(1)?)?.0;
    let behind = found.iter().skip(limit).take_while(|(created, _)| *created == last);
    let shown = limit + behind.count();
    let next = (more || shown < found.len()).then_some(last);
    found.truncate(shown);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_transaction_created_is_not_cut_apart() {
        for (created, limit, more, left, next) in [
            (&[9, 8, 7][..], 2, false, 2, Some(8)),
            (&[9, 8, 8, 8, 7], 2, false, 4, Some(8)),
            (&[9, 8, 8], 2, false, 3, None),
            (&[9, 8, 8], 2, true, 3, Some(8)),
            (&[9, 8], 2, false, 2, None),
            (&[9], 2, false, 1, None),
            (&[], 1, false, 0, None),
        ] {
            let mut found: Vec<_> = created.iter().map(|created| (*created, ())).collect();
            assert_eq!((cut(&mut found, limit, more), found.len()), (next, left), "{created:?}");
        }
    }

    #[test]
    fn a_page_is_within_bounds() {
        for (limit, before, wrong) in [
            (None, None, None),
            (Some(1), Some(1), None),
            (Some(1_000), None, None),
            (Some(0), None, Some("limit 0 is out of range: give 1 to 1000")),
            (Some(1_001), None, Some("limit 1001 is out of range: give 1 to 1000")),
            (None, Some(0), Some("before 0 is out of range: give the `next` of the answer before")),
        ] {
            let said = Page::read(limit, before).err().map(|Problem(_, said)| said);
            assert_eq!(said.as_deref(), wrong, "{limit:?} {before:?}");
        }
    }
}
