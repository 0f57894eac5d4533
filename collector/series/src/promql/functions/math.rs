//! Functions of one number.

/// A function from float to float; histograms have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Math {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Deg,
    Exp,
    Floor,
    Ln,
    Log10,
    Log2,
    Rad,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
}

impl Math {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "acos" => Self::Acos,
            "acosh" => Self::Acosh,
            "asin" => Self::Asin,
            "asinh" => Self::Asinh,
            "atan" => Self::Atan,
            "atanh" => Self::Atanh,
            "ceil" => Self::Ceil,
            "cos" => Self::Cos,
            "cosh" => Self::Cosh,
            "deg" => Self::Deg,
            "exp" => Self::Exp,
            "floor" => Self::Floor,
            "ln" => Self::Ln,
            "log10" => Self::Log10,
            "log2" => Self::Log2,
            "rad" => Self::Rad,
            "sgn" => Self::Sgn,
            "sin" => Self::Sin,
            "sinh" => Self::Sinh,
            "sqrt" => Self::Sqrt,
            "tan" => Self::Tan,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }

    pub(crate) fn apply(self, v: f64) -> f64 {
        match self {
            Self::Abs => v.abs(),
            Self::Acos => v.acos(),
            Self::Acosh => v.acosh(),
            Self::Asin => v.asin(),
            Self::Asinh => v.asinh(),
            Self::Atan => v.atan(),
            Self::Atanh => v.atanh(),
            Self::Ceil => v.ceil(),
            Self::Cos => v.cos(),
            Self::Cosh => v.cosh(),
            Self::Deg => v * 180.0 / std::f64::consts::PI,
            Self::Exp => v.exp(),
            Self::Floor => v.floor(),
            Self::Ln => v.ln(),
            Self::Log10 => v.log10(),
            Self::Log2 => v.log2(),
            Self::Rad => v * std::f64::consts::PI / 180.0,
            Self::Sgn if v < 0.0 => -1.0,
            Self::Sgn if v > 0.0 => 1.0,
            Self::Sgn => v,
            Self::Sin => v.sin(),
            Self::Sinh => v.sinh(),
            Self::Sqrt => v.sqrt(),
            Self::Tan => v.tan(),
            Self::Tanh => v.tanh(),
        }
    }
}

/// To the nearest multiple, halves up. The inverse loses less than a division would.
pub(crate) fn round(value: f64, nearest: f64) -> f64 {
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Within both bounds. NaN stays, and a bound of NaN makes NaN.
pub(crate) fn clamp(value: f64, min: f64, max: f64) -> f64 {
    if value.is_nan() || min.is_nan() || max.is_nan() {
        return f64::NAN;
    }
    value.min(max).max(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (name, value, expected) in [
            ("abs", -2.5, 2.5),
            ("ceil", 1.2, 2.0),
            ("sgn", -3.0, -1.0),
            ("sgn", 0.0, 0.0),
            ("deg", std::f64::consts::PI, 180.0),
            ("log2", 8.0, 3.0),
        ] {
            let found = Math::named(name).map(|f| f.apply(value));
            assert_eq!(found, Some(expected), "{name}({value})");
        }
        assert_eq!(round(2.5, 1.0), 3.0);
        assert_eq!(round(-2.5, 1.0), -2.0);
        assert_eq!(round(0.17, 0.05), 0.15);
        assert_eq!(clamp(5.0, 0.0, 3.0), 3.0);
        assert!(clamp(f64::NAN, 0.0, 3.0).is_nan());
    }
}
