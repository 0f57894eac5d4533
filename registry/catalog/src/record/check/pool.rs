//! Checks that are alike, kept once: the instances of a service are mostly probed in the same way, and a check that was read
//! from JSON takes about a kilobyte.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use super::Check;

/// Places for checks; two that fall on one place take turns, and are kept more than once meanwhile.
const PLACES: u64 = 1_024;

/// Checks that were seen, for whoever keeps many instances.
#[derive(Debug, Default)]
pub struct CheckPool(HashMap<u64, Arc<Check>>);

impl CheckPool {
    /// Puts what was seen already in the place of checks that are equal to it.
    pub fn share(&mut self, checks: &mut [Arc<Check>]) {
        for check in checks {
            // One that holds a secret itself has no JSON form, and stays alone.
            let Ok(text) = serde_json::to_vec(&**check) else { continue };
            let mut hasher = DefaultHasher::new();
            hasher.write(&text);
            let known = self.0.entry(hasher.finish() % PLACES).or_insert_with(|| check.clone());
            if *known == *check {
                check.clone_from(known);
            } else {
                known.clone_from(check);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instance;

    #[test]
    fn equal_checks_are_one() {
        let mut pool = CheckPool::default();
        let mut checks = |id: &str, checks: &str| {
            let json = format!(r#"{{"id":"{id}","address":"h","port":1,"checks":[{checks}]}}"#);
            let mut instance: Instance = serde_json::from_str(&json).expect("an instance");
            assert_eq!(instance.checks.capacity(), instance.checks.len());
            pool.share(&mut instance.checks);
            assert_eq!(serde_json::from_str::<Instance>(&json).expect("again"), instance);
            instance.checks
        };
        let one = checks("a", r#"{"name":"c","http":{}},{"name":"t","tcp":{}}"#);
        let two = checks("b", r#"{"name":"t","tcp":{}},{"name":"c","http":{"path":"/"}}"#);
        let three = checks("c", r#"{"name":"c","http":{"path":"/x"}}"#);
        assert!(Arc::ptr_eq(&one[0], &two[1]) && Arc::ptr_eq(&one[1], &two[0]));
        assert!(!Arc::ptr_eq(&one[0], &three[0]));
    }
}
