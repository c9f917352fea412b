//! Relative links in Markdown: their files and headings have to exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The links of a file that lead nowhere.
pub(crate) fn broken(file: &Path, root: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let folder = file.parent().unwrap();
    let is_broken = |link: &String| {
        let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
        let target = if path.is_empty() { file.to_owned() } else { folder.join(path) };
        match anchor {
            _ if !target.exists() => true,
            Some(anchor) if target.extension().is_some_and(|its| its == "md") => {
                !anchors(&fs::read_to_string(&target).unwrap()).contains(anchor)
            }
            _ => false,
        }
    };
    let name = file.strip_prefix(root).unwrap_or(file).display();
    relative_links(&text).into_iter().filter(is_broken).map(|link| format!("{name} → {link}")).collect()
}

/// The targets of inline links and of link definitions that are not of another site.
fn relative_links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push(target.to_owned());
        }
        if let Some((name, target)) = line.split_once("]: ").filter(|(name, _)| name.starts_with('[')) {
            drop(name);
            found.push(target.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    found.retain(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"));
    found
}

/// The lines outside code blocks, without inline code.
fn prose(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("`"));
        }
    }
    lines
}

/// The anchors of a text's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        // A heading that is there already gets a number.
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|anchor| !found.contains(anchor));
        found.extend(free);
    }
    found
}

#[test]
fn links_are_read_outside_code() {
    let text = "See [a](b.md#c), `[no](code)` and [web](https://x.y).\n```\n[no](block.md)\n```\n[d]: e/f.md \"title\"\n![image](g.png)\n";
    assert_eq!(relative_links(text), ["b.md#c", "e/f.md", "g.png"]);
}

#[test]
fn headings_have_anchors_as_on_github() {
    let text = "# The `x` file: what, and why?\n## Twice\n## Twice\n```\n# no heading\n```\n#no heading\n";
    let expected = ["the-x-file-what-and-why", "twice", "twice-1"];
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn links_to_missing_files_and_headings_are_broken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.md");
    fs::write(folder.path().join("b.md"), "# Here\n").unwrap();
    fs::write(&file, "# Top\n[1](b.md#here) [2](#top) [3](.)\n[4](c.md) [5](b.md#gone) [6](#bottom)\n").unwrap();
    assert_eq!(broken(&file, folder.path()), ["a.md → c.md", "a.md → b.md#gone", "a.md → #bottom"]);
}
