//! A reader of Rust sources that is as simple as the checks allow: words and punctuation without comments, literals and
//! what is compiled for tests only.

/// Splits a source into its words, `::`, and single characters of punctuation. Items under `cfg(test)` are left out.
pub(crate) fn tokens(source: &str) -> Vec<String> {
    without_tests(&split(source))
}

fn split(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a text or character literal at the beginning; `None` if there is none, as of a lifetime.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "b", "r", "c", ""]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#', '\''])))?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
        let body = rest[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(text.len() - body.len() + body.find(&end)? + end.len());
    }
    let quote = rest.chars().next().filter(|quote| *quote != '#')?;
    let mut characters = rest.char_indices().skip(1);
    let mut length = 0;
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            _ if character == quote => return Some(prefix.len() + at + 1),
            _ => {}
        }
        length += 1;
        // A quote without its second one is a lifetime. The longest character literal is an escape in braces.
        if quote == '\''
            && length >= 1
            && !rest.starts_with("'\\")
            && !rest[at + character.len_utf8()..].starts_with('\'')
        {
            return None;
        }
    }
    None
}

fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, …))]` is next.
fn is_test_attribute(tokens: &[String]) -> bool {
    let is = |expected: &[&str]| tokens.len() > expected.len() && tokens.iter().zip(expected).all(|(a, b)| a == b);
    is(&["#", "[", "cfg", "(", "test"]) || is(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The end of the item whose attributes begin here: of its braces, or its semicolon.
fn end_of_item(tokens: &[String], from: usize) -> usize {
    let (mut depth, mut braces) = (0, false);
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" => (depth, braces) = (depth + 1, true),
            "}" => {
                depth -= 1;
                if depth == 0 && braces {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The index behind the bracket that closes the one at `from`.
pub(crate) fn closing(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

#[test]
fn comments_and_literals_are_left_out() {
    let source = "// use crate::a;\n/* crate::b */ let x: &'static str = \"crate::c \\\" {\"; '{'; '\\''; r#\"crate::\"d\"#; b'}' f::<'a>()";
    assert_eq!(tokens(source).join(" "), "let x : & ' static str = ; ; ; ; f :: < ' a > ( )");
}

#[test]
fn items_for_tests_are_left_out() {
    let source = "#[cfg(test)]\nmod tests;\n#[cfg(all(test, unix))] #[path = \"x\"] mod more { fn f() { a[0]; } }\n\
        #[cfg(test)] use crate::x::{y, z};\n#[cfg(unix)] fn kept() {}";
    assert_eq!(tokens(source).join(" "), "# [ cfg ( unix ) ] fn kept ( ) { }");
}
