//! The time of planning and its growth: a document is checked, compiled and resolved within one call of a function, so
//! none of it may be quadratic in the steps. `cargo bench -p fresco-pipeline` prints a table; the figures of one machine are
//! to be compared with each other only.
#![expect(clippy::unwrap_used, reason = "a benchmark of what does not fail")]

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::document::{Checked, RunInputs, check};
use fresco_pipeline::ids::{RunId, StepRef};
use fresco_pipeline::media::Media;
use fresco_pipeline::plan::{Plan, compile};
use fresco_pipeline::request::StepOutputs;

/// Chains that begin together.
const BATCH: usize = 10;

fn main() {
    divan::main();
}

/// The shape of a document.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// One group of pictures.
    Group,
    /// Groups of pictures, of their edits and of videos of those, each step reading one; eager.
    Chains,
    /// Chains within one group.
    Rows,
    /// One step after the other, each an edit of the one before; eager.
    Row,
    /// A group of pictures, and one edit that falls into as many parts.
    Parts,
    /// Analyses, and one prompt that all of them are read into.
    Texts,
}

/// A document of so many steps, parts counted.
#[derive(Debug, Clone, Copy)]
struct Case {
    shape: Shape,
    steps: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {:>5}", format!("{:?}", self.shape).to_lowercase(), self.steps)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let shapes = [Shape::Group, Shape::Chains, Shape::Rows, Shape::Row, Shape::Parts, Shape::Texts];
    shapes.into_iter().flat_map(|shape| [10, 100, 1_000].map(|steps| Case { shape, steps }))
}

/// The document's text, while it is written.
struct Writer(String);

impl Writer {
    fn new(schedule: &str) -> Self {
        Writer(format!("name: bench\nsettings: {{schedule: {schedule}, max_workers: 40}}\nsteps:\n"))
    }

    fn group(&mut self, name: &str, steps: impl IntoIterator<Item = String>) {
        write!(self.0, "  - name: {name}\n    type: parallel_group\n    steps:\n").unwrap();
        for step in steps {
            writeln!(self.0, "      - {step}").unwrap();
        }
    }

    fn step(&mut self, step: &str) {
        writeln!(self.0, "  - {step}").unwrap();
    }
}

fn image(n: usize) -> String {
    format!("{{name: image_{n}, type: text_to_image, params: {{prompt: \"a fox, number {n}\", seed: {n}}}}}")
}

fn reader(name: &str, step: &str, n: usize, reads: &str) -> String {
    format!(
        "{{name: {name}_{n}, type: {step}, input_from: {reads}, params: {{prompt: \"{{{{input}}}}, number {n}\"}}}}"
    )
}

impl Case {
    fn text(self) -> String {
        let steps = self.steps;
        let edit = |n| reader("edit", "image_to_image", n, &format!("image_{n}"));
        let video = |n| reader("video", "image_to_video", n, &format!("edit_{n}"));
        match self.shape {
            Shape::Group => {
                let mut document = Writer::new("groups");
                document.group("all", (0..steps).map(image));
                document.0
            }
            Shape::Chains => {
                let mut document = Writer::new("eager");
                let chains: Vec<usize> = (0..steps / 3).collect();
                for (number, batch) in chains.chunks(BATCH).enumerate() {
                    document.group(&format!("images_{number}"), batch.iter().map(|&n| image(n)));
                    document.group(&format!("edits_{number}"), batch.iter().map(|&n| edit(n)));
                    document.group(&format!("videos_{number}"), batch.iter().map(|&n| video(n)));
                }
                (chains.len() * 3..steps).for_each(|n| document.step(&image(n)));
                document.0
            }
            Shape::Rows => {
                let mut document = Writer::new("groups");
                let chains = steps / 3;
                let chained = (0..chains).map(image).chain((0..chains).map(edit)).chain((0..chains).map(video));
                document.group("all", chained.chain((chains * 3..steps).map(image)));
                document.0
            }
            Shape::Row => {
                let mut document = Writer::new("eager");
                document.step(&image(0));
                for n in 1..steps {
                    let before = if n == 1 { "image_0".to_owned() } else { format!("edit_{}", n - 1) };
                    document.step(&reader("edit", "image_to_image", n, &before));
                }
                document.0
            }
            Shape::Parts => {
                let mut document = Writer::new("eager");
                document.group("images", (0..steps / 2).map(image));
                document.step("{name: edit, type: image_to_image, params: {prompt: \"at night\"}}");
                document.0
            }
            Shape::Texts => {
                let mut document = Writer::new("groups");
                let analysis = |n| format!("{{name: text_{n}, type: analyze_image, params: {{image: photo.png}}}}");
                document.group("texts", (0..steps - 1).map(analysis));
                let read: Vec<String> = (0..steps - 1).map(|n| format!("{{{{step_text_{n}.output}}}}")).collect();
                document.step(&format!("{{type: text_to_image, params: {{prompt: \"{}\"}}}}", read.join(" ")));
                document.0
            }
        }
    }

    fn checked(self) -> Checked {
        check(&self.text(), &given()).unwrap()
    }

    fn plan(self) -> Plan {
        let plan = compile(&self.checked());
        assert_eq!(plan.steps.len(), self.steps, "{self}");
        plan
    }
}

fn medium(n: usize) -> Media {
    Media {
        key: format!("inputs/image/{n:064x}.png"),
        kind: MediaKind::Image,
        content_type: "image/png".to_owned(),
        bytes: 1_000_000,
        sha256: format!("{n:064x}"),
        width: Some(1024),
        height: Some(768),
        duration_ms: None,
    }
}

fn given() -> RunInputs {
    let media = BTreeMap::from([("photo.png".to_owned(), Ok(medium(0)))]);
    RunInputs { input: Some("in the rain".to_owned()), media, ..RunInputs::default() }
}

#[divan::bench(args = cases())]
fn check_document(bencher: Bencher<'_, '_>, case: Case) {
    let (text, given) = (case.text(), given());
    bencher.counter(ItemsCount::new(case.steps)).bench(|| check(black_box(&text), black_box(&given)).unwrap());
}

#[divan::bench(args = cases())]
fn compile_plan(bencher: Bencher<'_, '_>, case: Case) {
    let checked = case.checked();
    bencher.counter(ItemsCount::new(case.steps)).bench(|| compile(black_box(&checked)));
}

/// Every step becomes a request with its content key, as if everything had been made.
#[divan::bench(args = cases())]
fn resolve_steps(bencher: Bencher<'_, '_>, case: Case) {
    let plan = case.plan();
    let run = RunId::parse("01k0000000-bench").unwrap();
    let made: BTreeMap<StepRef, StepOutputs> = (plan.steps.iter().zip(0..))
        .map(|(step, n)| {
            (step.id(), StepOutputs { media: vec![medium(n)], text: Some("A fox.".to_owned()), shortfall: None })
        })
        .collect();
    bencher.counter(ItemsCount::new(case.steps)).bench(|| {
        for step in &plan.steps {
            black_box(step.resolve(&run, black_box(&made)).unwrap().unwrap());
        }
    });
}

/// Documents that are refused, which must not take longer than good ones.
fn refused() -> impl Iterator<Item = &'static str> {
    ["10,000 steps", "60,000 brackets", "60,000 braces", "1,000 unknown names"].into_iter()
}

#[divan::bench(args = refused())]
fn refuse(bencher: Bencher<'_, '_>, what: &str) {
    let text = match what {
        "10,000 steps" => format!("steps:\n{}", "  - {type: text_to_image}\n".repeat(10_000)),
        "60,000 brackets" => format!("steps: {}", "[".repeat(60_000)),
        "60,000 braces" => format!("steps: {}", "{a: ".repeat(60_000)),
        _ => {
            let mut document = Writer::new("groups");
            (0..1_000).for_each(|n| document.step(&reader("edit", "image_to_image", n, &format!("imgae_{n}"))));
            document.0
        }
    };
    let given = given();
    bencher.bench(|| check(black_box(&text), black_box(&given)).unwrap_err());
}
