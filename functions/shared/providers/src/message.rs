//! Providers' messages in ours: on one line, of bounded length, without URLs. What a provider says about an error
//! goes into logs, records and the state machine's history.

/// The most characters of a message.
const MAX_MESSAGE: usize = 300;

/// A machine's word: an error type, a field's name.
pub(crate) fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-[]".contains(*c)).take(64).collect()
}

/// A message on one line, of bounded length, without URLs: they may be signed, and a data URI is the input itself.
pub(crate) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let shown = words.map(|word| {
        let at =
            ["http://", "https://", "data:"].iter().filter_map(|scheme| word.to_ascii_lowercase().find(scheme)).min();
        match at {
            Some(at) => format!("{}<url>", &word[..at]),
            None => word.to_owned(),
        }
    });
    cut(&shown.collect::<Vec<_>>().join(" "), MAX_MESSAGE)
}

pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
