//! The location that a run's outputs are copied to: a bucket of the user's own and a prefix in it, by S3's rules. Whether the stack may
//! write there is not known here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::BadId;

/// The lengths of a bucket's name, in bytes.
const BUCKET: std::ops::RangeInclusive<usize> = 3..=63;
/// The longest prefix, in bytes. An object's key has at most 1,024, and the rest is for the names under the prefix.
const MAX_PREFIX: usize = 512;
/// The longest URI, in bytes: scheme, bucket, prefix and two slashes.
pub(super) const MAX_EXPORT: usize = "s3://".len() + *BUCKET.end() + MAX_PREFIX + 2;
/// The pattern for editors, together with [`NOT_EXPORT`]. Without look-ahead, which not every reader of a JSON Schema
/// has.
pub(super) const EXPORT: &str = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|(/[A-Za-z0-9!_.*'()-]+)+/?)?$";
/// The exceptions to [`EXPORT`]: two dots, an IP address, a segment that is `.` or `..`.
pub(super) const NOT_EXPORT: &str = r"^s3://[^/]*\.\.|^s3://[0-9]+(\.[0-9]+){3}(/|$)|/\.\.?(/|$)";

/// A place in S3, `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Export {
    /// The bucket.
    pub bucket: String,
    /// The beginning of every key, without a slash at either end; empty where there is none.
    pub prefix: String,
}

impl Export {
    /// Reads `s3://bucket`, `s3://bucket/` or `s3://bucket/prefix`, with or without a slash at the end. The characters of a
    /// prefix are those that S3 calls safe: they need no escape in a URL, a header or a shell's list.
    pub fn parse(text: &str) -> Result<Export, BadId> {
        let bad = |rule| Err(BadId { what: "place in S3", rule });
        let Some(place) = text.strip_prefix("s3://") else { return bad("s3://BUCKET or s3://BUCKET/PREFIX") };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let at_ends = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = bucket.bytes().next().is_some_and(at_ends) && bucket.bytes().last().is_some_and(at_ends);
        if !BUCKET.contains(&bucket.len()) || !ends || !bucket.bytes().all(|b| at_ends(b) || b == b'.' || b == b'-') {
            return bad("a bucket of 3 to 63 of a-z, 0-9, `.` and `-`, with a letter or a digit at both ends");
        }
        if bucket.contains("..") || is_address(bucket) {
            return bad("a bucket without `..` that does not look like an IP address");
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.len() > MAX_PREFIX {
            return bad("a prefix of at most 512 bytes");
        }
        if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"!-_.*'()/".contains(&b)) {
            return bad("a prefix of A-Z, a-z, 0-9, `/` and `! - _ . * ' ( )`; placeholders are not filled there");
        }
        if place.contains("//") || prefix.split('/').any(|segment| segment == "." || segment == "..") {
            return bad("a prefix without `//`, and without `.` or `..` between slashes");
        }
        Ok(Export { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// Whether it has the form of an IP address, whatever its numbers.
fn is_address(bucket: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    bucket.split('.').count() == 4 && bucket.split('.').all(is_number)
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Export { bucket, prefix } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{bucket}{slash}{prefix}")
    }
}

impl TryFrom<String> for Export {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        Self::parse(&text)
    }
}

impl From<Export> for String {
    fn from(export: Export) -> String {
        export.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    #[test]
    fn what_is_a_place_in_s3() {
        let (longest, prefix) = (format!("s3://{}", "b".repeat(63)), "p".repeat(512));
        for (text, bucket, found) in [
            ("s3://abc", "abc", ""),
            ("s3://abc/", "abc", ""),
            ("s3://my.bucket-1/runs/2026", "my.bucket-1", "runs/2026"),
            ("s3://abc/a/b/", "abc", "a/b"),
            ("s3://abc/A-z_0!.*'()", "abc", "A-z_0!.*'()"),
            ("s3://abc/.../..a/a..", "abc", ".../..a/a.."),
            ("s3://1.2.3/x", "1.2.3", "x"),
            ("s3://1.2.3.4a", "1.2.3.4a", ""),
            (&longest, &longest[5..], ""),
            (&format!("s3://abc/{prefix}/"), "abc", &prefix),
        ] {
            let export = Export::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((export.bucket.as_str(), export.prefix.as_str()), (bucket, found), "{text}");
            assert_eq!(export.to_string(), text.strip_suffix('/').unwrap_or(text));
        }
    }

    #[test]
    fn a_location_that_is_no_bucket_is_refused() {
        let scheme = "s3://BUCKET";
        let ends = "letter or a digit at both ends";
        let dots = "without `..` that does not look like";
        let (slashes, letters) = ("without `//`", "placeholders are not filled");
        for (text, why) in [
            ("", scheme),
            ("abc", scheme),
            ("https://abc.s3.amazonaws.com/x", scheme),
            ("S3://abc", scheme),
            ("s3:/abc", scheme),
            (" s3://abc", scheme),
            ("s3://", ends),
            ("s3:///x", ends),
            ("s3://ab", ends),
            (&format!("s3://{}", "b".repeat(64)), ends),
            ("s3://Abc", ends),
            ("s3://a_c", ends),
            ("s3://-bc", ends),
            ("s3://ab-", ends),
            ("s3://.bc/x", ends),
            ("s3://ab./x", ends),
            ("s3://abc ", ends),
            ("s3://äbc", ends),
            ("s3://{{vars.bucket}}", ends),
            ("s3://a..c", dots),
            ("s3://192.168.5.4", dots),
            ("s3://999.0.0.1/x", dots),
            ("s3://abc//", slashes),
            ("s3://abc//x", slashes),
            ("s3://abc/x//", slashes),
            ("s3://abc/x//y", slashes),
            ("s3://abc/.", slashes),
            ("s3://abc/../x", slashes),
            ("s3://abc/x/./y", slashes),
            ("s3://abc/x/..", slashes),
            ("s3://abc/{{vars.run}}", letters),
            ("s3://abc/a b", letters),
            ("s3://abc/a?b", letters),
            ("s3://abc/a%2e", letters),
            ("s3://abc/ä", letters),
            ("s3://abc/a\n", letters),
            (&format!("s3://abc/{}", "p".repeat(513)), "512 bytes"),
        ] {
            let error = Export::parse(text).expect_err(text);
            assert!(error.rule.contains(why), "{text:?}: {}", error.rule);
        }
    }

    /// Whether it is one of what the pattern beside it excepts, or longer than a pattern can say.
    fn is_exception(text: &str) -> bool {
        let place = text.strip_prefix("s3://").unwrap();
        let (bucket, rest) = place.split_once('/').unwrap_or((place, ""));
        let too_long = rest.strip_suffix('/').unwrap_or(rest).len() > MAX_PREFIX;
        too_long
            || bucket.contains("..")
            || is_address(bucket)
            || rest.split('/').any(|part| part == "." || part == "..")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_an_editor_takes_the_checker_takes(text in string_regex(EXPORT.trim_matches(['^', '$'])).unwrap()) {
            let parsed = Export::parse(&text);
            prop_assert_eq!(parsed.is_err(), is_exception(&text), "{} {:?}", text, parsed);
            if let Ok(export) = parsed {
                prop_assert_eq!(Export::parse(&export.to_string()), Ok(export.clone()));
                let json = serde_json::to_string(&export).unwrap();
                prop_assert_eq!(serde_json::from_str::<Export>(&json).unwrap(), export);
            }
        }

        #[test]
        fn any_text_has_an_answer(text in r"s3://[a-c.0-9A-]{0,8}(/[a/.! {-]{0,8})?|\PC{0,20}") {
            if let Ok(export) = Export::parse(&text) {
                prop_assert_eq!(export.to_string(), text.strip_suffix('/').unwrap_or(&text));
                prop_assert!(!is_exception(&text));
            }
        }
    }
}
