//! A sketch written down. There is much to choose, and none of it is a reason for another key: names, places, groups,
//! settings, spellings of values, by which name a medium is called, what is a var and what is written out.

use serde_json::json;
use unicode_normalization::UnicodeNormalization;

use super::sketch::{Drawn, Medium, Sketch, Words};
use super::values::{field, sent};
use super::yaml::{Rolls, write};
use super::*;
use crate::catalogue::{ParamKind, default_model};

/// A document with the run that it is for.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) given: RunInputs,
    /// The names of the sketch's steps.
    pub(super) names: Vec<String>,
}

impl Written {
    /// The keys of the sketch's steps.
    pub(super) fn keys(&self) -> Vec<Vec<ContentKey>> {
        let mut keys = keys(&self.text, &self.given);
        self.names.iter().map(|name| keys.remove(name).unwrap()).collect()
    }
}

/// Writes the sketch as the rolls will have it.
pub(super) fn written(sketch: &Sketch, rolls: &mut Rolls) -> Written {
    let mut writer = Writer { sketch, names: vec![String::new(); sketch.steps.len()], vars: Map::new(), rolls };
    let steps = writer.steps();
    let mut document = json!({"steps": steps});
    for (name, values) in [
        ("name", ["mine", "another", "1 2 3"]),
        ("description", ["what it is for", "something else", "prompt: x"]),
        ("version", ["1", "2.0", "next"]),
    ] {
        if writer.rolls.yes() {
            document[name] = json!(writer.rolls.pick(&values));
        }
    }
    if writer.rolls.yes() {
        document["settings"] = Value::Object(writer.settings());
    }
    let mut given = with_pictures(&[]);
    for (kind, content) in
        [MediaKind::Image, MediaKind::Video, MediaKind::Text].iter().flat_map(|kind| (0..3).map(move |n| (kind, n)))
    {
        for alias in 0..ALIASES {
            given.media.insert(
                address(*kind, content, alias),
                Ok(medium(*kind, &content.to_string(), &format!("{content}-{alias}"))),
            );
        }
    }
    given.input = Some(sketch.input.clone());
    let Writer { names, vars, .. } = writer;
    for (name, value) in vars {
        // The run's go before the document's.
        match (rolls.of(3), value.as_str()) {
            (1, Some(text)) => drop(given.vars.insert(name, text.to_owned())),
            (2, Some(text)) => {
                given.vars.insert(name.clone(), text.to_owned());
                document["vars"][name] = json!("not this");
            }
            _ => document["vars"][name] = value,
        }
    }
    Written { text: write(&document, rolls), given, names }
}

/// By how many names a medium may be called.
const ALIASES: usize = 3;

fn address(kind: MediaKind, content: usize, alias: usize) -> String {
    match alias {
        0 => format!("{}-{content}.bin", kind.as_str()),
        1 => format!("https://example.com/{}/{content}?x=1", kind.as_str()),
        _ => format!("copies of {}/n\u{ba} {content}", kind.as_str()),
    }
}

struct Writer<'s, 'r> {
    sketch: &'s Sketch,
    /// The names of the steps that are placed.
    names: Vec<String>,
    vars: Map<String, Value>,
    rolls: &'r mut Rolls,
}

impl Writer<'_, '_> {
    /// The steps in an order that their references allow, some of them in groups, with others between them.
    fn steps(&mut self) -> Vec<Value> {
        let mut left: Vec<usize> = (0..self.sketch.steps.len()).collect();
        let mut steps = Vec::new();
        while !left.is_empty() {
            if self.rolls.yes() {
                steps.push(self.bystander());
            }
            let free = |step: &usize| self.sketch.steps[*step].reads().all(|read| !left.contains(&read));
            let ready: Vec<usize> = left.iter().copied().filter(free).collect();
            let next = ready[self.rolls.of(ready.len())];
            left.retain(|step| *step != next);
            steps.push(self.step(next, steps.len() + 1));
        }
        self.grouped(steps)
    }

    /// A step without readers.
    fn bystander(&mut self) -> Value {
        let mut step = json!({"type": "text_to_image", "params": {"prompt": "no step reads this"}});
        if self.rolls.yes() {
            step["enabled"] = json!(false);
            step["params"]["prompt"] = json!(7);
        }
        step
    }

    fn grouped(&mut self, steps: Vec<Value>) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        for step in steps {
            let is_open = items.last().is_some_and(|item| item["type"] == "parallel_group");
            if is_open && self.rolls.yes() {
                items.last_mut().and_then(|group| group["steps"].as_array_mut()).unwrap().push(step);
            } else if self.rolls.yes() {
                let mut group = json!({"type": "parallel_group", "steps": [step]});
                self.now_and_then(&mut group, "name", json!(format!("group-{}", items.len())));
                self.now_and_then(&mut group, "max_workers", json!(3));
                self.now_and_then(&mut group, "fail_fast", json!(false));
                self.now_and_then(&mut group, "timeout", json!(77));
                items.push(group);
            } else {
                items.push(step);
            }
        }
        items
    }

    fn now_and_then(&mut self, table: &mut Value, key: &str, value: Value) {
        if self.rolls.yes() {
            table[key] = value;
        }
    }

    fn settings(&mut self) -> Map<String, Value> {
        let mut settings = json!({});
        let workers = if self.rolls.yes() { ("workers", json!("heavy")) } else { ("max_workers", json!(7)) };
        let schedule = self.rolls.pick(&["eager", "groups"]);
        let cache = self.rolls.pick(&["refresh", "use"]);
        let export = self.rolls.pick(&["s3://our-media/runs", "s3://theirs", "s3://the.bucket/a/b/"]);
        let (parallel, cost) = (self.rolls.yes(), self.rolls.of(9));
        for (key, value) in [
            workers,
            ("parallel", json!(parallel)),
            ("fail_fast", json!(false)),
            ("schedule", json!(schedule)),
            ("cache", json!(cache)),
            ("max_cost", json!(cost)),
            ("export", json!(export)),
        ] {
            self.now_and_then(&mut settings, key, value);
        }
        settings.as_object().unwrap().clone()
    }

    /// The step of this place in the sketch, at this place of the document.
    fn step(&mut self, place: usize, number: usize) -> Value {
        let drawn = &self.sketch.steps[place];
        let model = drawn.model;
        let mut step = json!({});
        let name = match self.rolls.of(3) {
            0 => format!("s{place}"),
            1 => format!("The-{place}-th"),
            _ => format!("step_{number}"),
        };
        if !name.starts_with("step_") {
            step["name"] = json!(name);
        }
        self.names[place] = name;
        let types: Vec<&str> =
            std::iter::once(model.step.as_str()).chain(model.step.aliases().iter().copied()).collect();
        step["type"] = json!(self.rolls.pick(&types));
        let models: Vec<&str> = model.names().collect();
        let is_default = default_model(model.step).is_some_and(|default| default.name == model.name);
        if !(is_default && self.rolls.yes()) {
            step["model"] = json!(self.rolls.pick(&models));
        }
        if drawn.take != 1 || self.rolls.yes() {
            step["take"] = json!(drawn.take);
        }
        let cache = self.rolls.pick(&["use", "refresh"]);
        self.now_and_then(&mut step, "cache", json!(cache));
        self.now_and_then(&mut step, "enabled", json!(true));
        let timeout = 1 + self.rolls.of(3_600);
        self.now_and_then(&mut step, "timeout", json!(timeout));
        let mut params = self.params(drawn);
        for (input, media) in &drawn.media {
            let steps: Vec<&str> = media
                .iter()
                .filter_map(|medium| match medium {
                    Medium::Step(step) => Some(self.names[*step].as_str()),
                    Medium::Given(..) => None,
                })
                .collect();
            if *input == 0 && steps.len() == media.len() && self.rolls.yes() {
                let alone = steps.len() == 1 && self.rolls.yes();
                step["input_from"] = if alone { json!(steps[0]) } else { json!(steps) };
                continue;
            }
            let input = &model.inputs[*input];
            let named: Vec<String> = media.iter().map(|medium| self.medium(medium)).collect();
            let names: Vec<&str> =
                std::iter::once(input.param.as_str()).chain(input.aliases.iter().map(String::as_str)).collect();
            let alone = named.len() == 1 && !self.rolls.yes();
            params.insert(self.rolls.pick(&names).to_owned(), if alone { json!(named[0]) } else { json!(named) });
        }
        if !params.is_empty() || self.rolls.yes() {
            step["params"] = Value::Object(params);
        }
        step
    }

    fn medium(&mut self, medium: &Medium) -> String {
        match medium {
            Medium::Step(step) => format!("{{{{step_{}.output}}}}", self.names[*step]),
            Medium::Given(kind, content) => {
                let name = address(*kind, *content, self.rolls.of(ALIASES));
                if self.rolls.yes() { self.var(json!(name)) } else { name }
            }
        }
    }

    fn params(&mut self, drawn: &Drawn) -> Map<String, Value> {
        let model = drawn.model;
        let mut given = drawn.params.clone();
        let filled = |to: &str| {
            let mut names = drawn.params.keys().chain(drawn.texts.keys());
            names.any(|name| field(name, &model.params[name]) == to)
        };
        for (name, param) in &model.params {
            // A default, spelled out.
            if let (Some(default), false, true) = (&param.default, filled(field(name, param)), self.rolls.yes()) {
                given.insert(name.clone(), default.clone());
            }
        }
        let mut params = Map::new();
        for (name, value) in given {
            let (name, value) = self.other_name(model, name, value);
            let value = self.respelled(model, &name, value);
            params.insert(name, value);
        }
        for (name, words) in &drawn.texts {
            let is_prompt = model.params.get("prompt").is_some_and(|prompt| prompt.required)
                && field(name, &model.params[name]) == "prompt";
            if is_prompt && *words == [Words::Input] && self.rolls.yes() {
                // What is not given is the run's input text.
                continue;
            }
            let text = words.iter().map(|words| self.words(words)).collect::<String>();
            let (name, text) = self.other_name(model, name.clone(), json!(text));
            params.insert(name, text);
        }
        params
    }

    /// Another param that says the same to the provider.
    fn other_name(&mut self, model: &Model, name: String, value: Value) -> (String, Value) {
        let own = &model.params[&name];
        let to = field(&name, own);
        let says_so = |(other, param): (&String, &crate::catalogue::Param)| {
            let is_same = field(other, param) == to && *other != name;
            if is_same && param.kind == own.kind {
                return Some((other.clone(), value.clone()));
            }
            let sent = sent(own, &value);
            let written = param.map.iter().find(|(_, mapped)| sent == json!(mapped));
            let is_named = sent.is_string() && matches!(param.kind, ParamKind::ImageSize);
            match written {
                Some((word, _)) if is_same => Some((other.clone(), json!(word))),
                None if is_same && is_named && !own.map.is_empty() => Some((other.clone(), sent)),
                _ => None,
            }
        };
        match model.params.iter().find_map(says_so) {
            Some(other) if self.rolls.yes() => other,
            _ => (name, value),
        }
    }

    /// Another way to write a value.
    fn respelled(&mut self, model: &Model, name: &str, value: Value) -> Value {
        let spelled = match (&model.params[name].kind, &value) {
            (ParamKind::Number { .. }, Value::Number(number)) => {
                let number = number.as_f64().unwrap();
                if number.fract() == 0.0 { json!(number as i64) } else { value.clone() }
            }
            (ParamKind::Choice { .. }, Value::String(text)) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == *text => json!(number),
                _ => value.clone(),
            },
            (ParamKind::IntegerChoice { .. }, Value::Number(number)) => json!(number.to_string()),
            (ParamKind::Text { .. }, Value::String(text)) => return json!(self.words(&Words::Literal(text.clone()))),
            (ParamKind::ImageSize, Value::Object(_)) => return value,
            _ => value.clone(),
        };
        match self.rolls.of(4) {
            1 => spelled,
            2 => json!(self.var(value)),
            _ => value,
        }
    }

    fn words(&mut self, words: &Words) -> String {
        let text = match words {
            Words::Step(step) => return format!("{{{{ step_{}.output }}}}", self.names[*step]),
            Words::Input if !self.rolls.yes() => return "{{input}}".to_owned(),
            Words::Input => self.sketch.input.clone(),
            Words::Literal(text) => text.clone(),
        };
        let text = match self.rolls.of(4) {
            1 => text.nfd().collect(),
            2 => text.nfc().collect(),
            _ => text,
        };
        // Blanks at the ends of what is filled in are dropped.
        if self.rolls.yes() && text.trim() == text { self.var(json!(text)) } else { text }
    }

    /// A placeholder for the value.
    fn var(&mut self, value: Value) -> String {
        let name = format!("v{}", self.vars.len());
        self.vars.insert(name.clone(), value);
        format!("{{{{vars.{name}}}}}")
    }
}
