//! Identifiers. They are parsed where they come in, and nothing inside handles a raw string: what a user named never becomes
//! part of a path, a row key or an execution name without having passed here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The reason why a string is not the expected identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {rule}")]
pub struct BadId {
    pub what: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the string.
            pub fn parse(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(BadId { what: $what, rule: $rule }) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $rule })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

string_id!(
    /// The id of a run, also the name of its execution: lower-case letters, digits and hyphens, 8 to 64 of them.
    RunId, "run id", "8 to 64 of a-z, 0-9 and -, not starting or ending with -",
    |text| (8..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-') && !text.ends_with('-')
);

string_id!(
    /// A step's name as users write it: it names rows and files, so it is a plain identifier.
    StepName, "step name", "1 to 64 of letters, digits, _ and -, starting with a letter or _",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
);

string_id!(
    /// The key of an entry: SHA-256 in lower-case hex over what determines the result (see `key`).
    ContentKey, "content key", "64 lower-case hex digits",
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

string_id!(
    /// The SHA-256, in lower-case hex, of an attempt's token. The token itself stands only in the webhook URL.
    TokenHash, "token hash", "64 lower-case hex digits",
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl ContentKey {
    /// The key of these bytes.
    pub fn digest(bytes: &[u8]) -> Self {
        ContentKey(hex::encode(Sha256::digest(bytes)))
    }
}

impl TokenHash {
    /// The hash under which a token is kept.
    pub fn of(token: &str) -> Self {
        TokenHash(hex::encode(Sha256::digest(token.as_bytes())))
    }

    /// Whether this is the token's hash. The time taken does not depend on where the two differ.
    pub fn matches(&self, token: &str) -> bool {
        let other = Self::of(token);
        self.0.bytes().zip(other.0.bytes()).fold(0u8, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

/// A step in its run: its name and, in the run of a chunk, its row. The text is `7-image`, or `image` without a row: no name
/// starts with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepRef {
    /// The row's number in its batch.
    pub row: Option<u64>,
    pub name: StepName,
}

impl StepRef {
    /// The name in manifests, in the API and in messages: `r7-image`, or `image` without a row. The plan of a chunk has no
    /// step for which it is too long for a step name; see [`merge`](crate::plan::merge).
    pub fn public_name(&self) -> StepName {
        self.row.map_or_else(|| self.name.clone(), |row| StepName(format!("r{row}-{}", self.name)))
    }
}

impl fmt::Display for StepRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "{row}-{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl FromStr for StepRef {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (row, name) = match text.split_once('-') {
            Some((row, name)) if text.starts_with(|first: char| first.is_ascii_digit()) => {
                let bad = BadId { what: "step", rule: "the number before its name is the row's" };
                (Some(row.parse().map_err(|_| bad)?), name)
            }
            _ => (None, text),
        };
        Ok(StepRef { row, name: StepName::parse(name)? })
    }
}

impl TryFrom<String> for StepRef {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<StepRef> for String {
    fn from(step: StepRef) -> String {
        step.to_string()
    }
}

/// The number of an attempt under its content key, from 1; 0 stands for "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// Before the first.
    pub const NONE: Attempt = Attempt(0);

    /// The next one.
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_never_becomes_a_path() {
        for bad in ["", "../../x", "a/b", "1st", "a b", "ä", "a\0", &"a".repeat(65)] {
            assert!(StepName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["image", "_x", "step_1", "Thumb-Nail"] {
            assert_eq!(StepName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "short", "UPPERCASE", "with/slash", "-leading-", &"a".repeat(65)] {
            assert!(RunId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_step_with_a_row_is_read_back_from_its_text() {
        let step = |row, name: &str| StepRef { row, name: StepName::parse(name).unwrap() };
        for (text, step, public) in [
            ("image", step(None, "image"), "image"),
            ("7-image", step(Some(7), "image"), "r7-image"),
            ("0-_x-1", step(Some(0), "_x-1"), "r0-_x-1"),
            // The name of a step without a row may look like the public name of one with a row.
            ("r7-image", step(None, "r7-image"), "r7-image"),
            ("9-r7-image", step(Some(9), "r7-image"), "r9-r7-image"),
        ] {
            assert_eq!((step.to_string().as_str(), step.public_name().as_str()), (text, public));
            assert_eq!(text.parse().as_ref(), Ok(&step));
            let json = serde_json::to_string(&step).unwrap();
            assert_eq!((json.as_str(), serde_json::from_str(&json).unwrap()), (format!("\"{text}\"").as_str(), step));
        }
        for bad in ["", "7", "7-", "7-1", "-image", "+7-image", "7x-image", "7-a/b", "99999999999999999999-image"] {
            assert!(bad.parse::<StepRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_matches_its_hash_only() {
        let hash = TokenHash::of("secret");
        assert!(hash.matches("secret") && !hash.matches("secreT") && !hash.matches(""));
    }
}
