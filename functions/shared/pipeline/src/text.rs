//! The form of texts: how they are sent and hashed, whichever way they came, and how messages repeat them.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The byte order mark, which editors put in front of a text.
const MARK: char = '\u{feff}';
/// The most characters of a user's text in a message. The text may be a prompt, and messages go into logs and events.
pub const MAX_SHOWN: usize = 40;

/// Returns a text without byte order marks and blanks at its ends, its lines ended by LF.
pub fn tidy(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == MARK);
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

/// Returns a text as it is hashed and sent: tidy and in NFC, so that two spellings of one text are one request.
pub fn canonical(text: &str) -> String {
    let text = tidy(text);
    if text.is_ascii() { text.into_owned() } else { text.nfc().collect() }
}

/// Returns a user's text as a message repeats it: at most [`MAX_SHOWN`] characters, without control characters.
pub fn shown(text: &str) -> String {
    shorten(text, MAX_SHOWN)
}

/// Returns the message of a parser with the text that it repeats shortened as by [`shown`]. A parser repeats a name or a value, between
/// backticks or double quotes, before it says what it expected. Where it expected nothing, the message itself is cut.
pub fn shown_in(message: &str) -> Cow<'_, str> {
    let Some(start) = message.find(['`', '"']) else { return Cow::Borrowed(message) };
    let Some(quote) = message.get(start..start + 1) else { return Cow::Borrowed(message) };
    match message.rfind(&format!("{quote}, expected")) {
        Some(end) if end > start => {
            Cow::Owned(format!("{}{}{}", &message[..=start], shown(&message[start + 1..end]), &message[end..]))
        }
        _ => Cow::Owned(shorten(message, start + MAX_SHOWN)),
    }
}

/// Returns at most so many characters of a text, without control characters.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.len() > short.len() && text.chars().nth(most).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_text_are_one() {
        for spelling in [
            "a\ncaf\u{e9}",
            "a\r\ncaf\u{e9}\r\n",
            "a\rcafe\u{301}",
            "\u{feff}a\ncaf\u{e9}",
            " \u{feff}\ta\ncaf\u{e9} \n\n",
        ] {
            assert_eq!(canonical(spelling), "a\ncaf\u{e9}", "{spelling:?}");
        }
        assert_eq!((canonical("\u{feff}\r\n "), canonical("a  b\n\nc")), (String::new(), "a  b\n\nc".to_owned()));
    }

    #[test]
    fn a_message_repeats_little_of_a_text() {
        let long = "x".repeat(41);
        assert_eq!(shown(&long[..40]), long[..40]);
        assert_eq!(shown(&long), format!("{}…", &long[..39]));
        assert_eq!(shown("a\nb"), "a?b");
    }

    #[test]
    fn a_parsers_message_repeats_little_of_a_text() {
        let error =
            |json: &str| serde_json::from_str::<std::collections::BTreeMap<String, u32>>(json).unwrap_err().to_string();
        let secret = format!("begin `a`, \"b\" {} end", "secret ".repeat(20));
        let said = error(&serde_json::json!({ "a": secret }).to_string());
        assert!(said.contains("secret  end"), "{said}");
        let shown = shown_in(&said);
        assert!(!shown.contains(" end") && shown.contains("expected u32 at line 1"), "{shown}");
        assert_eq!(shown_in("unknown field `inptu`, expected `input`"), "unknown field `inptu`, expected `input`");
        let name = format!("unknown field `{secret}`, expected one of `a`, `b`");
        assert!(shown_in(&name).ends_with("…`, expected one of `a`, `b`") && !shown_in(&name).contains(" end"));
        assert_eq!(shown_in("missing field at line 1"), "missing field at line 1");
        assert!(shown_in(&format!("bad \"{secret}")).chars().count() <= 5 + MAX_SHOWN);
    }
}
