//! The number of methods of each type, over all of its `impl` blocks without a trait.

use std::collections::BTreeMap;

use crate::reader::{closing, tokens};

/// Counts the methods of each type in the sources.
pub(crate) fn count(sources: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for source in sources {
        let tokens = tokens(&source);
        let mut at = 0;
        while at < tokens.len() {
            // `impl` in a type stands behind an operator or in an argument, an item's behind another item's end.
            let begins = at == 0 || matches!(tokens[at - 1].as_str(), "}" | ";" | "]");
            if tokens[at] != "impl" || !begins {
                at += 1;
                continue;
            }
            let Some(open) = tokens[at..].iter().position(|token| token == "{").map(|open| at + open) else { break };
            let end = closing(&tokens, open);
            if let Some(name) = inherent(&tokens[at + 1..open]) {
                *counts.entry(name).or_default() += functions(&tokens[open..end]);
            }
            at = end;
        }
    }
    counts
}

/// The name of the type that a head implements; `None` if it implements a trait for it.
fn inherent(head: &[String]) -> Option<String> {
    let mut depth = 0;
    let mut name = None;
    let mut previous = "";
    for token in head {
        match token.as_str() {
            "<" => depth += 1,
            // The arrow of a function type closes nothing.
            ">" if previous != "-" => depth -= 1,
            "for" if depth == 0 => return None,
            "where" if depth == 0 => break,
            word if depth == 0 && word.starts_with(|c: char| c.is_alphabetic()) => name = Some(word.to_owned()),
            _ => {}
        }
        previous = token;
    }
    name
}

/// The functions directly in a block.
fn functions(block: &[String]) -> usize {
    let mut depth = 0;
    let mut count = 0;
    for token in block {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "fn" if depth == 1 => count += 1,
            _ => {}
        }
    }
    count
}

#[test]
fn methods_are_counted_over_all_blocks() {
    let one = "impl<P: Platform<X = fn() -> u8>> Engine<P> where P: Send { fn a() { fn inner() {} } pub async fn b(x: impl Fn()) {} }";
    let two = "struct A; impl<P> Engine<P> { fn c() -> impl Iterator { x } } impl Clone for Engine<u8> { fn clone() {} } \
        impl crate::A { fn d() {} } #[cfg(test)] mod tests { impl A { fn e() {} } }";
    let counts = count([one.to_owned(), two.to_owned()]);
    assert_eq!(counts, [("A".to_owned(), 1), ("Engine".to_owned(), 3)].into());
}
