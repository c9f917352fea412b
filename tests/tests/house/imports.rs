//! Imports between the files of a crate: paths that begin with `crate`, `super` or `self`. A parent module without items of
//! its own only re-exports, and paths that end in it do not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::reader::{closing, tokens};

/// A module by its path in the crate; the root is empty.
type Module = Vec<String>;
pub(crate) type Arrows = BTreeMap<Module, BTreeSet<Module>>;

const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "static", "impl", "macro_rules"];

/// The imports of a crate.
#[derive(Debug)]
pub(crate) struct Imports(Arrows);

impl Imports {
    /// Reads the sources of a crate, by the parts of their paths under `src` without the extension.
    pub(crate) fn read(sources: impl IntoIterator<Item = (Vec<String>, String)>) -> Self {
        let modules: BTreeMap<Module, Vec<String>> = sources
            .into_iter()
            .filter(|(parts, _)| !is_of_tests(parts))
            .map(|(parts, source)| (module_of(parts), tokens(&source)))
            .collect();
        let only_re_exports = |module: &Module| !modules[module].iter().any(|token| ITEMS.contains(&token.as_str()));
        let arrows = modules.iter().map(|(module, tokens)| {
            let targets = paths(tokens).into_iter().filter_map(|path| resolve(module, &path, &modules));
            let targets = targets.filter(|target| target != module && !target.is_empty() && !only_re_exports(target));
            (module.clone(), targets.collect())
        });
        Imports(arrows.collect())
    }

    /// The modules that each module imports from.
    pub(crate) fn arrows(&self) -> &Arrows {
        &self.0
    }
}

fn is_of_tests(parts: &[String]) -> bool {
    let last = parts.last().map_or("", String::as_str);
    last.ends_with("tests") || last.ends_with("_test") || parts.iter().any(|part| part == "tests")
}

fn module_of(mut parts: Vec<String>) -> Module {
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
        parts.pop();
    }
    parts
}

/// The file that a path leads into from a module.
fn resolve(from: &Module, path: &[String], modules: &BTreeMap<Module, Vec<String>>) -> Option<Module> {
    let mut here = if path[0] == "crate" { Vec::new() } else { from.clone() };
    for segment in path {
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => drop(here.pop()),
            name => {
                here.push(name.to_owned());
                if !modules.contains_key(&here) {
                    here.pop();
                    break;
                }
            }
        }
    }
    modules.contains_key(&here).then_some(here)
}

/// The paths of a source that begin with `crate`, `super` or `self`; each path of a group is one.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = matches!(tokens[at].as_str(), "crate" | "super" | "self");
        // `pub(in super::super)` is no import.
        let is_visibility = at > 0 && tokens[at - 1] == "in";
        if begins && tokens.get(at + 1).is_some_and(|next| next == "::") {
            let mut all = Vec::new();
            at = tree(tokens, at, &[], &mut all);
            found.extend(all.into_iter().filter(|_| !is_visibility));
        } else {
            at += 1;
        }
    }
    found
}

/// Reads a path or a tree of paths, and returns the index behind it.
fn tree(tokens: &[String], mut at: usize, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = base.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                let end = closing(tokens, at);
                let mut next = at + 1;
                while next < end - 1 {
                    // Behind a path come an alias and a comma.
                    let is_path = tokens[next] != "," && tokens[next] != "as" && tokens[next - 1] != "as";
                    next = if is_path { tree(tokens, next, &path, found) } else { next + 1 };
                }
                return end;
            }
            Some(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => path.push(name.to_owned()),
            // A glob, or a generic argument.
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|next| next != "::") {
            found.push(path);
            return at;
        }
        at += 1;
    }
    found.push(path);
    at + 1
}

/// Joins the files of each top-level folder.
pub(crate) fn folders(arrows: &Arrows) -> Arrows {
    let folder = |module: &Module| module.first().cloned().into_iter().collect::<Module>();
    let mut joined = Arrows::new();
    for (module, targets) in arrows {
        let from = folder(module);
        let targets = targets.iter().map(folder).filter(|to| *to != from);
        joined.entry(from.clone()).or_default().extend(targets);
    }
    joined
}

/// The circles of modules that reach each other, a line each with all arrows within it.
pub(crate) fn circles(arrows: &Arrows) -> Vec<String> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|module| (module, reachable(arrows, module))).collect();
    let reaches = |from: &Module, to: &Module| reached.get(from).is_some_and(|all| all.contains(to));
    let mut circles = BTreeSet::new();
    for module in arrows.keys().filter(|module| reaches(module, module)) {
        let members = arrows.keys().filter(|other| reaches(module, other) && reaches(other, module));
        circles.insert(members.collect::<Vec<_>>());
    }
    let name = |module: &Module| if module.is_empty() { "lib".to_owned() } else { module.join("/") };
    let line = |members: Vec<&Module>| {
        let within = members.iter().flat_map(|from| {
            let targets = arrows[*from].iter().filter(|to| members.contains(to));
            targets.map(move |to| format!("{} → {}", name(from), name(to)))
        });
        within.collect::<Vec<_>>().join(", ")
    };
    circles.into_iter().map(line).collect()
}

fn reachable<'a>(arrows: &'a Arrows, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = arrows[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(arrows.get(module).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        paths(&tokens(source)).into_iter().map(|path| path.join("::")).collect()
    }

    fn circles_of(sources: &[(&str, &str)]) -> Vec<String> {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect();
        circles(Imports::read(sources.iter().map(|(path, source)| (parts(path), (*source).to_owned()))).arrows())
    }

    #[test]
    fn groups_are_read_path_by_path() {
        let source = "use crate::{a::{b, c as d, self}, e::*}; use super::super::f; fn g() { self::h::<i>(self.x) }";
        assert_eq!(
            texts(source),
            ["crate::a::b", "crate::a::c", "crate::a::self", "crate::e", "super::super::f", "self::h"]
        );
        assert_eq!(
            texts("pub(crate) struct A; pub(in super::super) fn f() {} impl B for crate::c::D {}"),
            ["crate::c::D"]
        );
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let found = circles_of(&[
            ("lib", "mod a; mod b;"),
            ("a", "use crate::b::B; pub struct A;"),
            ("b/mod", "mod c; fn f(_: super::a::A) {} pub struct B;"),
            ("b/c", "use super::super::a::A; fn g() {}"),
        ]);
        assert_eq!(found, ["a → b, b → a"]);
    }

    #[test]
    fn a_parent_that_only_re_exports_closes_no_circle() {
        let child = ("p/a", "use super::B; pub struct A;");
        assert_eq!(circles_of(&[("lib", "mod p;"), ("p/mod", "mod a; mod b; pub use b::B;"), child]), [""; 0]);
        let with_item = ("p/mod", "mod a; use self::a::A; pub struct B;");
        assert_eq!(circles_of(&[("lib", "mod p;"), with_item, child]), ["p → p/a, p/a → p"]);
    }

    #[test]
    fn imports_of_tests_are_skipped() {
        let a = ("a", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }");
        assert_eq!(circles_of(&[("lib", ""), a, ("b", "use crate::a::A; struct B;")]), [""; 0]);
        let tests = ("a/tests", "use crate::b::B; fn f() {}");
        assert_eq!(circles_of(&[("lib", ""), a, tests, ("b", "use crate::a::A; struct B;")]), [""; 0]);
    }

    #[test]
    fn folders_are_joined() {
        let sources = [
            ("lib", "mod a; mod b;"),
            ("a/mod", "mod one; mod two;"),
            ("b/mod", "mod one; mod two;"),
            ("a/one", "use crate::b::one::B; pub struct A;"),
            ("a/two", "pub struct C;"),
            ("b/one", "pub struct B;"),
            ("b/two", "use crate::a::two::C; fn f() {}"),
        ];
        assert_eq!(circles_of(&sources), [""; 0]);
        let parts = |path: &str| path.split('/').map(str::to_owned).collect();
        let imports = Imports::read(sources.iter().map(|(path, source)| (parts(path), (*source).to_owned())));
        assert_eq!(circles(&folders(imports.arrows())), ["a → b, b → a"]);
    }
}
