//! Filling `{{input}}` in texts. What is filled in is not read again: an input that contains `{{…}}` stays as it is.

/// A placeholder that this version does not fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownPlaceholder(pub(super) String);

/// Replaces `{{input}}`. `{{` that is not closed on the way to the end is text.
pub(super) fn fill(text: &str, input: Option<&str>) -> Result<String, UnknownPlaceholder> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { break };
        filled.push_str(before);
        match (name.trim(), input) {
            ("input", Some(input)) => filled.push_str(input),
            _ => return Err(UnknownPlaceholder(name.trim().to_owned())),
        }
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_once() {
        for (text, input, filled) in [
            ("a {{input}} b", "x", "a x b"),
            ("{{ input }}{{input}}", "x", "xx"),
            ("{{input}}", "{{input}}", "{{input}}"),
            ("{% $states.input %} {x} {{", "x", "{% $states.input %} {x} {{"),
            ("\"quotes\"\nand 🦊", "x", "\"quotes\"\nand 🦊"),
        ] {
            assert_eq!(fill(text, Some(input)).as_deref(), Ok(filled));
        }
        assert_eq!(fill("{{env.KEY}}", Some("x")), Err(UnknownPlaceholder("env.KEY".into())));
        assert_eq!(fill("{{input}}", None), Err(UnknownPlaceholder("input".into())));
    }
}
