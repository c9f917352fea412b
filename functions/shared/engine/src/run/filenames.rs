//! Files named by step: what a person finds in a folder or a bucket.

use std::collections::BTreeSet;

use crate::run::manifest::Manifest;

/// The manifest's own name.
pub const MANIFEST: &str = "manifest.json";
/// The contact sheet's name.
pub const SHEET: &str = "index.html";

/// An output of a run and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The step's place in the manifest.
    pub step: usize,
    /// Which of its outputs, from 0.
    pub output: usize,
    /// The output's key.
    pub key: String,
    /// The file's name.
    pub name: String,
}

/// Every output of a run with the name of its file, the same at every call: `image.jpg`, or `image_2.jpg` where a step gave
/// several. Step names are plain identifiers, so they are file names as they are.
pub fn of_run(manifest: &Manifest) -> Vec<Named> {
    let steps = manifest.steps.iter();
    of_steps(
        steps.map(|step| {
            (step.name.as_str(), step.outputs.iter().map(|output| output.key.as_str()).collect::<Vec<_>>())
        }),
    )
}

/// The same for steps by name, each with the keys of its outputs, in the document's order.
pub fn of_steps<'a>(steps: impl Iterator<Item = (&'a str, Vec<&'a str>)>) -> Vec<Named> {
    let mut taken: BTreeSet<String> = [MANIFEST, SHEET].map(str::to_owned).into();
    let mut named = Vec::new();
    for (place, (step, keys)) in steps.enumerate() {
        for (index, key) in keys.iter().enumerate() {
            let number = if keys.len() == 1 { String::new() } else { format!("_{}", index + 1) };
            let name = free(&mut taken, step, &number, key);
            named.push(Named { step: place, output: index, key: (*key).to_owned(), name });
        }
    }
    named
}

/// Another step may be called `image_2`: then a line is added.
fn free(taken: &mut BTreeSet<String>, step: &str, number: &str, key: &str) -> String {
    let extension = key.rsplit_once('.').map_or("bin", |(_, extension)| extension);
    let mut between = String::new();
    loop {
        let name = format!("{step}{between}{number}.{extension}");
        // Some file systems do not tell cases apart.
        if taken.insert(name.to_ascii_lowercase()) {
            return name;
        }
        between.push('_');
    }
}
