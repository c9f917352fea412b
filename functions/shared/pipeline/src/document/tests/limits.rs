//! Documents that would cost time or memory are refused after little work. The bound is for a build without optimisation.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::*;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The processor time of this thread, so that a busy machine changes nothing; where the kernel does not say it, the time.
fn worked() -> Duration {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| STARTED.elapsed(), Duration::from_nanos)
}

fn quickly(what: &str, text: &str) -> Vec<(u32, String)> {
    let start = worked();
    let codes = match check(text, &given()) {
        Ok(_) => vec![],
        Err(problems) => {
            problems.report("p.yaml", text);
            problems.0.into_iter().map(|problem| (problem.place.line, problem.code)).collect()
        }
    };
    media_references(text, &given());
    let took = worked().saturating_sub(start);
    assert!(took < Duration::from_secs(4), "{what}: {took:?}");
    codes
}

#[test]
fn too_many_steps() {
    let written = format!("steps:\n{}", "- {type: text_to_image}\n".repeat(10_000));
    assert_eq!(quickly("10,000 steps", &written), [(2, "too_many_steps".to_owned())]);
    let grouped = format!("steps:\n- type: parallel_group\n  steps:\n{}", "  - {type: text_to_image}\n".repeat(1_001));
    assert_eq!(quickly("a large group", &grouped), [(2, "too_many_steps".to_owned())]);
    let most = format!("steps:\n{}", "- {type: text_to_image}\n".repeat(1_000));
    assert_eq!(quickly("1,000 steps", &most), []);
    // Four to the power of a hundred.
    let fanned =
        format!("steps:\n{}", "- {type: image_to_image, params: {image: [cat.png, dog.png], num_images: 4}}\n");
    let fanned = fanned + &"- {type: image_to_image, params: {num_images: 4}}\n".repeat(100);
    assert_eq!(quickly("fan-out", &fanned), [(7, "too_many_steps".to_owned())]);
}

#[test]
fn hostile_texts() {
    let bomb = "a: &a [x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\n";
    for (what, text) in [
        ("alias bomb", bomb.to_owned()),
        ("brackets", format!("steps: {}", "[".repeat(60_000))),
        ("braces", format!("steps: {}", "{a: ".repeat(60_000))),
        ("dashes", format!("steps:\n{}x", "- ".repeat(60_000))),
        ("too large", "x".repeat(MAX_BYTES + 1)),
        ("many nodes", format!("steps: [{}]", "1,".repeat(1_000_000))),
    ] {
        let codes = quickly(what, &text);
        assert!(codes.len() == 1 && codes[0].1.starts_with("document_"), "{codes:?}");
    }
}

#[test]
fn four_mebibytes() {
    let bytes = MAX_BYTES - 200;
    for (what, text, code) in [
        ("a plain text", "x".repeat(bytes), "wrong_type"),
        ("a prompt", one_image(&format!("{{prompt: \"{}\"}}", "x".repeat(bytes))), "param_too_long"),
        ("placeholders", one_image(&format!("{{prompt: \"{}\"}}", "{{x}}".repeat(bytes / 5))), "unknown_placeholder"),
        ("inputs", one_image(&format!("{{prompt: \"{}\"}}", "{{input}}".repeat(bytes / 9))), "param_too_long"),
        ("braces", one_image(&format!("{{prompt: \"{}\"}}", "{".repeat(bytes))), "unclosed_placeholder"),
        ("single braces", one_image(&format!("{{prompt: \"{}\"}}", "{input}".repeat(bytes / 7))), "single_braces"),
        ("backslashes", one_image(&format!("{{prompt: '{}'}}", "\\".repeat(bytes))), "param_too_long"),
        ("dollars", one_image(&format!("{{prompt: \"{}\"}}", "${".repeat(bytes / 2))), "param_too_long"),
        ("a name", format!("name: {}\nsteps: [{{type: text_to_image}}]", "x".repeat(bytes)), "bad_name"),
        ("a key", format!("{}: x\nsteps: [{{type: text_to_image}}]", "x".repeat(1_000)), "unknown_key"),
        ("a type", format!("steps: [{{type: {}}}]", "x".repeat(bytes)), "unknown_type"),
        ("lines", format!("steps:{}[]", "\n ".repeat(bytes / 2)), "no_steps"),
    ] {
        let codes = quickly(what, &text);
        assert!(codes.first().is_some_and(|(_, found)| found == code), "{what}: {:?}", codes.first());
    }
}

#[test]
fn a_long_input_filled_in_often() {
    let input = RunInputs { input: Some("ä".repeat(500_000)), ..given() };
    let start = Instant::now();
    for (text, code) in [
        (
            format!(
                "vars:\n{}steps: [{{type: text_to_image}}]",
                (0..9_000).map(|n| format!("  v{n}: \"{{{{input}}}}\"\n")).collect::<String>()
            ),
            "param_too_long",
        ),
        (one_image(&format!("{{seed: [{}]}}", "\"{{input}}\",".repeat(9_000))), "param_too_long"),
        (
            format!("steps:\n{}", "- {type: text_to_image, params: {prompt: \"{{input}}\"}}\n".repeat(1_000)),
            "param_too_long",
        ),
        (format!("steps:\n{}", "- {type: text_to_image}\n".repeat(1_000)), "param_too_long"),
    ] {
        assert!(codes(&text, &input).iter().any(|(_, found)| found == code), "{text:.80}");
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn much_of_everything_wrong() {
    let word = "x".repeat(60);
    let lines = |line: &dyn Fn(usize) -> String, count: usize| (0..count).map(line).collect::<Vec<_>>().join("\n");
    let step = |n: usize| format!("- {{type: image_to_image, name: s{n}{word}, input_from: s{}{word}}}", n + 1);
    let keys = lines(&|n| format!("{word}{n}: 1"), 10_000);
    let params =
        format!("steps:\n- type: text_to_image\n  params:\n{}", lines(&|n| format!("    {word}{n}: 1"), 10_000));
    let forward = format!("steps:\n{}", lines(&|n| step(n).replace(&word, &"y".repeat(55)), 1_000));
    let unknown = lines(&|n| format!("- {{type: image_to_image, name: a{n:060}, input_from: b{n:060}}}"), 1_000);
    let names = format!("[{}]", lines(&|_| format!("{word},"), 20_000).replace('\n', ""));
    let group = format!(
        "steps:\n- type: parallel_group\n  name: g\n  steps:\n{}\n{}",
        lines(&|_| "  - {type: text_to_image}".to_owned(), 900),
        lines(&|_| format!("- {{type: image_to_image, input_from: [{}]}}", "g,".repeat(1_000)), 99)
    );
    let dense = format!(
        "steps:\n{}",
        lines(
            &|n| {
                let all: Vec<_> = (0..80).map(|k| format!("s{}", (n * 7 + k * 5) % 1_000)).collect();
                format!("- {{type: image_to_image, name: s{n}, input_from: [{}]}}", all.join(","))
            },
            1_000
        )
    );
    let one_line = format!("{{\"steps\": [{}]}}", "{\"type\":\"text_to_imago\",\"x\":1},".repeat(999));
    for (what, text) in [
        ("unknown keys", format!("{keys}\nsteps: []")),
        ("unknown params", params),
        ("forward references", forward),
        ("unknown names", format!("steps:\n{unknown}")),
        ("a list of unknown names", format!("steps:\n- type: image_to_image\n  input_from: {names}")),
        ("a large group read often", group),
        ("circles", dense),
        ("one line", one_line),
    ] {
        let codes = quickly(what, &text);
        assert!(!codes.is_empty() && codes.len() <= MAX_PROBLEMS + 1, "{what}: {}", codes.len());
    }
}
