//! File names of a run's outputs, in a folder or an export bucket.

use std::collections::BTreeSet;

use crate::manifest::Manifest;

/// The file name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// The file name of the contact sheet.
pub const SHEET: &str = "index.html";

/// An output of a run with its file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedOutput {
    /// The step's index in the manifest.
    pub step: usize,
    /// The output's index in the step.
    pub output: usize,
    /// The output's key in the bucket.
    pub key: String,
    /// The file name.
    pub name: String,
}

/// Returns every output of a run with its file name, the same at every call: `image.jpg`, or `image_2.jpg` of a step with
/// several outputs. Step names are plain identifiers, so they are file names as they are.
pub fn of_run(manifest: &Manifest) -> Vec<NamedOutput> {
    let steps = manifest.steps.iter();
    of_steps(
        steps.map(|step| {
            (step.name.as_str(), step.outputs.iter().map(|output| output.key.as_str()).collect::<Vec<_>>())
        }),
    )
}

/// Like [`of_run`], for steps by name, each with the keys of its outputs, in the document's order.
pub fn of_steps<'a>(steps: impl Iterator<Item = (&'a str, Vec<&'a str>)>) -> Vec<NamedOutput> {
    let mut taken: BTreeSet<String> = [MANIFEST, SHEET].map(str::to_owned).into();
    let mut named = Vec::new();
    for (place, (step, keys)) in steps.enumerate() {
        for (index, key) in keys.iter().enumerate() {
            let number = if keys.len() == 1 { String::new() } else { format!("_{}", index + 1) };
            let name = free(&mut taken, step, &number, key);
            named.push(NamedOutput { step: place, output: index, key: (*key).to_owned(), name });
        }
    }
    named
}

/// Returns the first free file name. Another step may be called `image_2`: then an underscore is added.
fn free(taken: &mut BTreeSet<String>, step: &str, number: &str, key: &str) -> String {
    let extension = key.rsplit_once('.').map_or("bin", |(_, extension)| extension);
    let mut between = String::new();
    loop {
        let name = format!("{step}{between}{number}.{extension}");
        // Some file systems ignore case.
        if taken.insert(name.to_ascii_lowercase()) {
            return name;
        }
        between.push('_');
    }
}
