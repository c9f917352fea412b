//! File names of outputs, made from the names of steps.

use std::collections::BTreeSet;

use crate::run::manifest::Manifest;

/// The file name of a manifest.
pub const MANIFEST: &str = "manifest.json";
/// The file name of a contact sheet.
pub const SHEET: &str = "index.html";

/// An output and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The index of the step in the manifest.
    pub step: usize,
    /// The index of the output, from 0.
    pub output: usize,
    pub key: String,
    pub name: String,
}

/// Names every output of a run, the same at every call: `image.jpg`, or `image_2.jpg` for a step with several outputs.
/// Step names are plain identifiers and so are valid file names.
pub fn of_run(manifest: &Manifest) -> Vec<Named> {
    let steps = manifest.steps.iter();
    of_steps(
        steps.map(|step| {
            (step.name.as_str(), step.outputs.iter().map(|output| output.key.as_str()).collect::<Vec<_>>())
        }),
    )
}

/// Names the outputs of steps, each given as its name and the keys of its outputs, in the order of the document.
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

/// Makes a name that is not taken: another step may be called `image_2`, and then an underscore is added.
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
