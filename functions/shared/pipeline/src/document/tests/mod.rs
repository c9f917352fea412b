//! The checker by table: documents with the codes and lines that they have to be refused with, and what the accepted ones
//! come to.

mod accepted;
mod bad_input;
mod guide;
mod keys;
mod limits;
mod media;
mod placeholders;
mod properties;
mod references;
mod report;
mod schema;

use super::*;

/// A run with an input text, and with media under a few names.
fn given() -> RunInputs {
    let ok = |kind: MediaKind, n: usize| {
        Ok(Media {
            key: format!("inputs/{}/{n}.bin", kind.as_str()),
            kind,
            content_type: "application/octet-stream".to_owned(),
            bytes: 10,
            sha256: format!("{n:064x}"),
            width: None,
            height: None,
            duration_ms: None,
        })
    };
    let not_media = Problem::new("input_kind", "this is no image", "Give a PNG.");
    let media = [
        ("cat.png", ok(MediaKind::Image, 1)),
        ("dog.png", ok(MediaKind::Image, 2)),
        ("https://example.com/cat.png", ok(MediaKind::Image, 1)),
        ("clip.mp4", ok(MediaKind::Video, 3)),
        ("notes.txt", Err(not_media)),
    ];
    RunInputs {
        input: Some("a fox".to_owned()),
        timestamp: "2026-01-02T03:04:05Z".to_owned(),
        random: "f00d".to_owned(),
        media: media.into_iter().map(|(name, media)| (name.to_owned(), media)).collect(),
        ..RunInputs::default()
    }
}

fn no_input() -> RunInputs {
    RunInputs { input: None, ..given() }
}

/// Lines and codes of what a document is refused for.
fn codes(text: &str, given: &RunInputs) -> Vec<(u32, String)> {
    match check(text, given) {
        Ok(_) => vec![],
        Err(problems) => problems.0.into_iter().map(|problem| (problem.place.line, problem.code)).collect(),
    }
}

/// Each document is refused for exactly these codes at these lines; for none of them it is accepted.
fn refused(given: &RunInputs, table: &[(&str, &[(u32, &str)])]) {
    for (text, expected) in table {
        let expected: Vec<(u32, String)> = expected.iter().map(|(line, code)| (*line, (*code).to_owned())).collect();
        assert_eq!(codes(text, given), expected, "{text}");
    }
}

/// The only problem of a document.
fn problem(text: &str, given: &RunInputs) -> Problem {
    let Problems(mut problems) = check(text, given).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

fn accepted(text: &str, given: &RunInputs) -> Checked {
    check(text, given).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn step<'a>(checked: &'a Checked, name: &str) -> &'a ValidStep {
    checked.groups.iter().flat_map(|group| &group.steps).find(|step| step.name.as_str() == name).unwrap()
}

/// The media of a step, as `field=a.0,#1`: outputs by step and number, inputs by hash.
fn takes(checked: &Checked, name: &str) -> Vec<String> {
    let medium = |medium: &MediaRef| match medium {
        MediaRef::Output { step, index } => format!("{step}.{index}"),
        MediaRef::Input(media) => format!("#{}", media.sha256.trim_start_matches('0')),
    };
    let field = |field: &FieldMedia<MediaRef>| {
        format!("{}={}", field.to, field.media.iter().map(medium).collect::<Vec<_>>().join(","))
    };
    step(checked, name).media.iter().map(field).collect()
}

/// A document with one step, `flux_schnell`, whose params are these.
fn one_image(params: &str) -> String {
    format!("steps:\n- type: text_to_image\n  model: flux_schnell\n  params: {params}\n")
}
