//! Bounds of custom buckets.

/// Whether two lists of bounds are the same.
pub(super) fn same(one: &[f64], other: &[f64]) -> bool {
    one == other
}

/// The bounds that both lists have; both rise.
pub(super) fn intersect(one: &[f64], other: &[f64]) -> Vec<f64> {
    let mut other = other.iter().peekable();
    one.iter()
        .copied()
        .filter(|bound| {
            while other.next_if(|o| *o < bound).is_some() {}
            other.peek() == Some(&bound)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases: [(&[f64], &[f64], &[f64]); 5] = [
            (&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0, 6.0, 7.0], &[2.0, 6.0]),
            (&[1.0, 2.0], &[1.0, 2.0], &[1.0, 2.0]),
            (&[1.0], &[2.0], &[]),
            (&[], &[2.0], &[]),
            (&[-1.0, 0.0, 5.0], &[0.0], &[0.0]),
        ];
        for (one, other, common) in cases {
            assert_eq!(intersect(one, other), common);
            assert_eq!(intersect(other, one), common);
        }
    }
}
