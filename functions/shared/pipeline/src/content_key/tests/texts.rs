//! Texts and media that come by several ways and are one request: the two forms of Unicode, the names of a picture.

use super::*;

/// The same words composed and taken apart: accents, two accents whose order is not the canonical one, Hangul, a character
/// that NFC replaces by another.
const FORMS: [(&str, &str); 4] = [
    ("\u{e9}t\u{e9} \u{e0} Krak\u{f3}w", "e\u{301}te\u{301} a\u{300} Krako\u{301}w"),
    ("qu\u{1e69}", "qus\u{307}\u{323}"),
    ("\u{d55c}\u{ae00}", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
    ("5 \u{3a9}, 3 \u{c5}", "5 \u{2126}, 3 \u{212b}"),
];

/// The keys of the step that is called `b`, for both forms.
fn of_forms(document: &dyn Fn(&str) -> (String, RunInputs, String)) -> Vec<[ContentKey; 2]> {
    let key = |form: &str| {
        let (text, given, said) = document(form);
        keys_where(&text, &given, |_| said.clone())["b"][0].clone()
    };
    FORMS.iter().map(|(composed, apart)| [key(composed), key(apart)]).collect()
}

#[test]
fn both_forms_of_a_prompt_are_one_request() {
    let one = |params: &str| format!("steps: [{{type: text_to_image, name: b, params: {{{params}}}}}]");
    let reads = |prompt: &str| {
        format!(
            "steps:\n- {{type: text_to_image, name: a, params: {{prompt: x}}}}\n- {{type: analyze_image, name: t, params: {{prompt: x}}}}\n- {{type: text_to_image, name: b, params: {{prompt: \"{prompt}\"}}}}"
        )
    };
    let given = |input: &str| RunInputs { input: Some(input.to_owned()), ..with_pictures(&[]) };
    type Way<'a> = (&'a str, &'a dyn Fn(&str) -> (String, RunInputs, String));
    let ways: [Way<'_>; 9] = [
        ("a literal", &|form| (one(&format!("prompt: \"{form}\"")), given("x"), String::new())),
        ("{{input}}", &|form| (one("prompt: \"{{input}}, {{input}}\""), given(form), String::new())),
        ("no prompt", &|form| (one(""), given(form), String::new())),
        ("a var", &|form| {
            (format!("vars: {{x: \"{form}\"}}\n{}", one("prompt: \"{{vars.x}}\"")), given("x"), String::new())
        }),
        ("a var of the run", &|form| {
            let vars = BTreeMap::from([("x".to_owned(), form.to_owned())]);
            (one("prompt: \"{{vars.x}}\""), RunInputs { vars, ..given("x") }, String::new())
        }),
        ("a var with {{input}}", &|form| {
            (format!("vars: {{x: \"{{{{input}}}}\"}}\n{}", one("prompt: \"{{vars.x}}\"")), given(form), String::new())
        }),
        ("{{env.X}}", &|form| {
            let env = BTreeMap::from([("X".to_owned(), form.to_owned())]);
            (one("prompt: \"{{env.X}}\""), RunInputs { env, ..given("x") }, String::new())
        }),
        ("a step's text", &|form| (reads("{{step_t.output}}"), given("x"), form.to_owned())),
        ("all of them", &|form| {
            (reads(&format!("{form} {{{{step_t.output}}}} {{{{input}}}}")), given(form), form.to_owned())
        }),
    ];
    for (way, document) in ways {
        let keys = of_forms(document);
        for (n, [composed, apart]) in keys.iter().enumerate() {
            assert_eq!(composed, apart, "{way}: {:?}", FORMS[n]);
            assert!(keys[..n].iter().all(|[before, _]| before != composed), "{way}: {:?}", FORMS[n]);
        }
    }
}

/// Line ends, blanks at the ends and byte order marks, as editors, spreadsheets and YAML leave them.
#[test]
fn every_way_of_a_prompt_gives_one_request() {
    let given = |input: &str| RunInputs { input: Some(input.to_owned()), ..with_pictures(&[]) };
    let one = |params: &str| format!("steps:\n- type: text_to_image\n  params:\n    {params}\n");
    let expected = only(&one("prompt: \"a cat,\\nasleep\""), &given("x"));
    for input in ["a cat,\nasleep", "a cat,\r\nasleep\r\n", "\u{feff}a cat,\nasleep\n", "  a cat,\rasleep\t"] {
        assert_eq!(only(&one("seed: null").replace("\n    seed: null", " {}"), &given(input)), expected, "{input:?}");
        assert_eq!(only(&one("prompt: \"{{input}}\""), &given(input)), expected, "{input:?}");
        let row = RunInputs { row: [("p".to_owned(), input.to_owned())].into(), ..given("x") };
        assert_eq!(only(&one("prompt: \" {{vars.p}}\\r\\n\""), &row), expected, "{input:?}");
        let json = json!({"steps": [{"type": "text_to_image", "params": {"prompt": input}}]}).to_string();
        assert_eq!(only(&json, &given("x")), expected, "{input:?}");
    }
    for prompt in [
        "prompt: |\n      a cat,\n      asleep",
        "prompt: |+\n      a cat,\n      asleep\n\n",
        "prompt: |-\n\n      a cat,\n      asleep",
    ] {
        assert_eq!(only(&one(prompt), &given("x")), expected, "{prompt}");
        assert_eq!(only(&one(prompt).replace('\n', "\r\n"), &given("x")), expected, "{prompt}");
    }
    let reads = "steps:\n- {type: text_to_image, name: a, params: {prompt: x}}\n- {type: analyze_image, name: t, params: {prompt: x}}\n- {type: text_to_image, name: b, params: {prompt: \" {{step_t.output}}\\n\"}}";
    for said in ["a cat,\nasleep", "\u{feff}a cat,\r\nasleep\r\n", "\0 a cat,\nasleep \0"] {
        assert_eq!(keys_where(reads, &given("x"), |_| said.to_owned())["b"][0], expected, "{said:?}");
    }
}

#[test]
fn a_size_by_its_name_and_by_its_sides_is_one_request() {
    let size = |size: &str| {
        only(&format!("steps: [{{type: text_to_image, params: {{prompt: x, {size}}}}}]"), &with_pictures(&[]))
    };
    assert_eq!(size("image_size: square_hd"), size("image_size: {width: 1024, height: 1024}"));
    assert_eq!(size("image_size: square_hd"), size("aspect_ratio: \"1:1\""));
    assert_eq!(size("image_size: landscape_16_9"), size("image_size: {height: 576, width: 1024}"));
    assert_ne!(size("image_size: square_hd"), size("image_size: {width: 1024, height: 1032}"));
}

/// An accent that comes from another place than its letter.
#[test]
fn forms_meet_where_texts_do() {
    let filled = "steps:\n- {type: text_to_image, name: a, params: {prompt: x}}\n- {type: analyze_image, name: t}\n- {type: text_to_image, name: b, params: {prompt: \"caf{{step_t.output}}{{input}} noir\"}}";
    let plain = "steps: [{type: text_to_image, name: b, params: {prompt: \"caf\u{e9} noir\"}}]";
    let with = |input: &str| RunInputs { input: Some(input.to_owned()), ..with_pictures(&[]) };
    let key = |text: &str, said: &str, input: &str| keys_where(text, &with(input), |_| said.to_owned())["b"][0].clone();
    let expected = key(plain, "", "x");
    // A NUL is left out of what a step gives, also where it stands between the two.
    for (said, input) in
        [("e", "\u{301}"), ("e\0", "\u{301}"), (" e\0\u{301}\n", ""), ("\u{e9}\0", ""), ("e\u{301}", "")]
    {
        assert_eq!(key(filled, said, input), expected, "{said:?} {input:?}");
    }
    assert_ne!(key(filled, "e", ""), expected);
}

#[test]
fn one_picture_under_several_names_is_one_input() {
    let given = with_pictures(&[
        ("cat.png", "cat"),
        ("other/name.jpg", "cat"),
        ("https://example.com/a.png?x=1", "cat"),
        ("dog.png", "dog"),
    ]);
    let step = |params: &str| format!("steps: [{{type: image_to_image, params: {{prompt: x, {params}}}}}]");
    let cat = only(&step("image: cat.png"), &given);
    for same in [
        "image: other/name.jpg",
        "image: \"https://example.com/a.png?x=1\"",
        "image_url: cat.png",
        "image: [other/name.jpg]",
    ] {
        assert_eq!(only(&step(same), &given), cat, "{same}");
    }
    let named = RunInputs { image: Some("other/name.jpg".to_owned()), ..given.clone() };
    assert_eq!(only("steps: [{type: image_to_image, params: {prompt: x}}]", &named), cat);
    assert_ne!(only(&step("image: dog.png"), &given), cat);
    // The first name for another content: it is the content that counts.
    assert_ne!(only(&step("image: cat.png"), &with_pictures(&[("cat.png", "dog")])), cat);
}

/// What is made in a run and what is given with it are one input too, and a part is the step over its medium alone.
#[test]
fn an_input_is_its_content_wherever_it_comes_from() {
    let made = "steps:\n- {type: text_to_image, name: a, params: {prompt: x, num_images: 2}}\n- {type: image_to_video, name: b, params: {prompt: y}}";
    let found = keys(made, &with_pictures(&[]));
    let outputs: Vec<String> = (0..2).map(|n| format!("{} {n}", found["a"][0])).collect();
    let given = with_pictures(&[("one.png", &outputs[0]), ("two.png", &outputs[1])]);
    let alone =
        |name: &str| only(&format!("steps: [{{type: image_to_video, params: {{prompt: y, image: {name}}}}}]"), &given);
    assert_eq!(found["b"], [alone("one.png"), alone("two.png")]);
    // And however the step before is named.
    for named in [
        made.replace("name: b,", "name: b, input_from: a,"),
        made.replace("name: b,", "name: b, input_from: [a],"),
        made.replace("prompt: y", "prompt: y, image: \"{{step_a.output}}\""),
        made.replace("name: b,", "name: b, input_from: g,")
            .replace("- {type: text", "- type: parallel_group\n  name: g\n  steps:\n  - {type: text"),
    ] {
        assert_eq!(keys(&named, &with_pictures(&[]))["b"], found["b"], "{named}");
    }
}
