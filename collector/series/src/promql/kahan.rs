//! Compensated summation (Kahan's, as improved by Neumaier): what rounding loses is kept beside the sum.

/// A sum and what it has lost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Sum {
    pub(crate) fn of(first: f64) -> Self {
        Self { sum: first, lost: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    pub(crate) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A mean: a sum that is divided at the end, or, once that would overflow, a mean that is kept up to date.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn of(first: f64) -> Self {
        Self { sum: Sum::of(first), count: 1.0, incremental: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let keep = (self.count - 1.0) / self.count;
        self.sum.sum *= keep;
        self.sum.lost *= keep;
        self.sum.add(value / self.count);
    }

    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.sum.sum + self.sum.lost
        } else {
            self.sum.sum / self.count + self.sum.lost / self.count
        }
    }
}

/// Variance by Welford's method, with compensation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variance {
    count: f64,
    mean: Sum,
    aux: Sum,
}

impl Variance {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - (self.mean.sum + self.mean.lost);
        self.mean.add(delta / self.count);
        self.aux.add(delta * (value - (self.mean.sum + self.mean.lost)));
    }

    pub(crate) fn value(self) -> f64 {
        (self.aux.sum + self.aux.lost) / self.count
    }
}

/// The value at rank `q` of the values, which get sorted; between two of them, in proportion.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN is the smallest.
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.total_cmp(b),
    });
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let values = [1.0, 1e100, 1.0, -1e100];
        let mut sum = Sum::default();
        let mut mean = Mean::of(values[0]);
        values.iter().for_each(|v| sum.add(*v));
        values[1..].iter().for_each(|v| mean.add(*v));
        assert_eq!((sum.value(), mean.value()), (2.0, 0.5));
        let mut huge = Mean::of(f64::MAX);
        (0..3).for_each(|_| huge.add(f64::MAX));
        assert!((huge.value() / f64::MAX - 1.0).abs() < 1e-15);
    }

    #[test]
    fn quantiles() {
        for (q, expected) in [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.75, 3.25)] {
            assert_eq!(quantile(q, &mut [4.0, 1.0, 3.0, 2.0]), expected, "{q}");
        }
        assert!(quantile(0.5, &mut []).is_nan() && quantile(f64::NAN, &mut [1.0]).is_nan());
        assert_eq!(quantile(-1.0, &mut [1.0]), f64::NEG_INFINITY);
    }
}
