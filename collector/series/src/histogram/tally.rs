//! What counts are added up in: plain floats, or floats that keep what rounding lost.

/// A number that others are added to.
pub(super) trait Tally: Copy {
    fn of(value: f64) -> Self;
    fn plus(self, value: f64) -> Self;
    fn join(self, other: Self) -> Self;
    fn value(self) -> f64;
}

impl Tally for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn plus(self, value: f64) -> Self {
        self + value
    }

    fn join(self, other: Self) -> Self {
        self + other
    }

    fn value(self) -> f64 {
        self
    }
}

/// Kahan's summation with Neumaier's improvement: 1 + 1e100 + 1 − 1e100 is 2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compensated {
    pub(super) sum: f64,
    pub(super) lost: f64,
}

impl Compensated {
    /// Both parts changed by one factor or divisor.
    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { sum: change(self.sum), lost: change(self.lost) }
    }
}

impl Tally for Compensated {
    fn of(value: f64) -> Self {
        Self { sum: value, lost: 0.0 }
    }

    fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let lost = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.lost + ((self.sum - sum) + value)
        } else {
            self.lost + ((value - sum) + self.sum)
        };
        Self { sum, lost }
    }

    fn join(self, other: Self) -> Self {
        self.plus(other.sum).plus(other.lost)
    }

    fn value(self) -> f64 {
        self.sum + self.lost
    }
}
