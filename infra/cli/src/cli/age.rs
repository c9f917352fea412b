//! Ages as arguments: `3d`, `12h`, `90m`.

use std::str::FromStr;
use std::time::Duration;

use fresco_api_types::MIN_CLEAN_AGE;
use fresco_pipeline::time::{DAY, HOUR, MINUTE, Millis};

/// Ten years: a longer age is taken for a typing error.
const OLDEST: Millis = 3_650 * DAY;

/// An age, of an hour to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age(Millis);

/// An invalid age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAge {
    #[error("`{0}` is no age; write a whole number and a unit, such as 3d, 12h or 90m (days, hours, minutes)")]
    Form(String),
    #[error("`{0}` is too short; 1h at least, since younger results may still be in use")]
    TooShort(String),
    #[error("`{0}` is too long; 3650d at most")]
    TooLong(String),
}

impl Age {
    pub(super) fn millis(self) -> Millis {
        self.0
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl FromStr for Age {
    type Err = BadAge;

    fn from_str(text: &str) -> Result<Self, BadAge> {
        let bad = || BadAge::Form(text.to_owned());
        let (number, unit) = match text.char_indices().next_back() {
            Some((at, 'd')) => (&text[..at], DAY),
            Some((at, 'h')) => (&text[..at], HOUR),
            Some((at, 'm')) => (&text[..at], MINUTE),
            _ => return Err(bad()),
        };
        // The standard library parses `+3`, too.
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let millis = number.parse::<Millis>().ok().and_then(|number| number.checked_mul(unit));
        match millis {
            Some(millis) if millis < MIN_CLEAN_AGE => Err(BadAge::TooShort(text.to_owned())),
            Some(millis) if millis <= OLDEST => Ok(Self(millis)),
            _ => Err(BadAge::TooLong(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_parsed_with_their_units() {
        for (text, millis) in [
            ("3d", 3 * DAY),
            ("12h", 12 * HOUR),
            ("90m", 90 * MINUTE),
            ("60m", HOUR),
            ("1h", HOUR),
            ("007d", 7 * DAY),
            ("3650d", OLDEST),
            ("87600h", OLDEST),
        ] {
            assert_eq!(text.parse(), Ok(Age(millis)), "{text}");
        }
    }

    #[test]
    fn invalid_ages_are_rejected_with_the_reason() {
        for (text, word) in [
            ("", "is no age"),
            ("3", "is no age"),
            ("d", "is no age"),
            ("3 d", "is no age"),
            ("3D", "is no age"),
            ("3s", "is no age"),
            ("3w", "is no age"),
            ("-3d", "is no age"),
            ("+3d", "is no age"),
            ("1.5d", "is no age"),
            ("1d12h", "is no age"),
            ("٣d", "is no age"),
            ("3дней", "is no age"),
            ("0d", "too short"),
            ("59m", "too short"),
            ("3651d", "too long"),
            ("5256001m", "too long"),
            ("99999999999999999999d", "too long"),
            ("9223372036854775807d", "too long"),
        ] {
            let refused = text.parse::<Age>().unwrap_err().to_string();
            assert!(refused.contains(word), "{text}: {refused}");
        }
    }
}
