//! Money as integer micro-dollars. Nothing in Fresco computes with floating-point money: a price is rounded up once, when
//! it is made, and only added and compared afterwards.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// An amount in micro-dollars (1,000,000 = $1). Negative amounts occur only as differences.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// A budget that no run reaches: one billion dollars. It stands for "no `max_cost` was given", so that a hold is the
    /// same operation with and without one.
    pub const UNLIMITED: Money = Money(1_000_000_000_000_000);

    /// An amount in micro-dollars.
    pub const fn micros(micros: i64) -> Self {
        Money(micros)
    }

    /// The amount in micro-dollars.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Dollars as written by a user (`max_cost: 2.5`), rounded up to a micro-dollar; `None` unless finite, not negative
    /// and at most [`Money::UNLIMITED`].
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let micros = (dollars * 1e6).ceil();
        (micros.is_finite() && micros >= 0.0 && micros <= Self::UNLIMITED.0 as f64).then_some(Money(micros as i64))
    }

    /// `self` times a count, saturating.
    pub fn times(self, count: u64) -> Self {
        Money(self.0.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(iter: I) -> Money {
        iter.fold(Money::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    /// `$0.003`, `$1.50`: at least two decimals, never a rounded one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (dollars, micros) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let decimals = format!("{micros:06}");
        let kept = decimals.trim_end_matches('0').len().max(2);
        f.pad(&format!("{sign}${dollars}.{}", &decimals[..kept]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_every_micro_dollar() {
        for (micros, shown) in
            [(0, "$0.00"), (3_000, "$0.003"), (1_500_000, "$1.50"), (1, "$0.000001"), (-20_000, "-$0.02")]
        {
            assert_eq!(Money::micros(micros).to_string(), shown);
        }
    }

    #[test]
    fn dollars_round_up_and_nonsense_is_refused() {
        assert_eq!(Money::from_dollars(0.0000001), Some(Money::micros(1)));
        assert_eq!(Money::from_dollars(2.5), Some(Money::micros(2_500_000)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(Money::from_dollars(bad), None);
        }
    }
}
