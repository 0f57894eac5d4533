//! Where buckets begin and end.

use super::CUSTOM_SCHEMA;

/// Upper bound of bucket `index` (its lower bound is that of `index - 1`): computed for exponential schemas,
/// looked up for custom buckets, where the last bucket ends at +Inf and the first begins at −Inf.
pub(super) fn upper(index: i64, schema: i32, custom: &[f64]) -> f64 {
    if schema != CUSTOM_SCHEMA {
        return exponential(index, schema);
    }
    match usize::try_from(index) {
        Ok(at) => custom.get(at).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// 2^(index · 2^−schema). The bucket that holds the largest finite numbers ends at `f64::MAX`, so that the one
/// after it, (MAX, +Inf], has infinite observations only.
fn exponential(index: i64, schema: i32) -> f64 {
    let (exponent, fraction) = if schema <= 0 {
        (index.saturating_mul(1 << (-schema).min(32)), 0.0)
    } else {
        let steps = 1_i64 << schema.min(32);
        (index.div_euclid(steps), index.rem_euclid(steps) as f64 / steps as f64)
    };
    if exponent == 1024 && fraction == 0.0 {
        return f64::MAX;
    }
    scaled(fraction.exp2(), exponent)
}

/// `value` · 2^`exponent`, also where that is subnormal; `value` is in 1..2.
fn scaled(value: f64, exponent: i64) -> f64 {
    let power = |e: i64| f64::from_bits(((e + 1023) as u64) << 52);
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => value * power(exponent),
        -1080..-1022 => value * power(-1022) * power((exponent + 1022).max(-1022)),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let max = f64::MAX;
        for (schema, index, wanted) in [
            (0, 0, 1.0),
            (0, 1, 2.0),
            (0, -1, 0.5),
            (0, 1024, max),
            (0, 1025, f64::INFINITY),
            (0, -1074, f64::from_bits(1)),
            (0, -1075, 0.0),
            (-1, 1, 4.0),
            (-4, 1, 65_536.0),
            (-4, 64, max),
            (-4, 65, f64::INFINITY),
            (-4, -68, 0.0),
            (1, 1, 2_f64.sqrt()),
            (1, 2, 2.0),
            (1, 2048, max),
            (1, 2049, f64::INFINITY),
            (3, -8, 0.5),
            (8, 256, 2.0),
            (8, 262_144, max),
            (8, i64::from(i32::MAX), f64::INFINITY),
            (8, i64::from(i32::MIN), 0.0),
            (-4, i64::from(i32::MIN), 0.0),
        ] {
            let bound = upper(index, schema, &[]);
            assert!(
                (bound == wanted) || (bound / wanted - 1.0).abs() < 1e-15,
                "{schema} {index}: {bound}"
            );
        }
        let custom = [-1.0, 5.0];
        let bounds: Vec<_> = (-1..4).map(|i| upper(i, CUSTOM_SCHEMA, &custom)).collect();
        assert_eq!(bounds, [f64::NEG_INFINITY, -1.0, 5.0, f64::INFINITY, f64::INFINITY]);
    }

    #[test]
    fn they_rise() {
        for schema in -4..=8 {
            let mut last = 0.0;
            for index in -20_000..20_000 {
                let bound = upper(index, schema, &[]);
                let rises = bound > last || bound < f64::MIN_POSITIVE || bound.is_infinite();
                assert!(bound >= last && rises, "{schema} {index}");
                last = bound;
            }
        }
    }
}
