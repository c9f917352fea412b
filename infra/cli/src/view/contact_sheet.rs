//! The contact sheet: one HTML file beside the outputs, without scripts and without anything from elsewhere.

use std::collections::BTreeMap;

use fresco_api_types::{Manifest, ManifestStep};
use fresco_pipeline::catalogue::MediaKind;

use super::progress::{exported, status_text};
use super::{duration, source};
use crate::api::{MissingFile, Saved, SavedFile};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
h1{font-size:1.4rem;margin:0}.sum{opacity:.75;margin:.2rem 0 1.5rem}\
.grid{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr))}\
figure{margin:0;border:1px solid var(--line);border-radius:.6rem;overflow:hidden}img,video{display:block;width:100%;height:auto;background:#0002}\
figcaption{padding:.6rem .8rem}b{display:block}small{opacity:.75}blockquote{margin:0;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere;max-height:20rem;overflow:auto}.bad{color:#c33}p.why{margin:.3rem 0 0}";

/// The sheet of a run.
///
/// `texts` holds what stands in the files that are texts, by name.
pub fn render(manifest: &Manifest, saved: &Saved, texts: &BTreeMap<&str, String>) -> String {
    let mut cards = String::new();
    for step in &manifest.steps {
        let name = step.name.as_str();
        let files = saved.files.iter().filter(|file| file.step == name).map(Shown::File);
        let missing = saved.missing.iter().filter(|missing| missing.step == name).map(Shown::Missing);
        let mut shown = files.chain(missing).peekable();
        if shown.peek().is_none() {
            cards.push_str(&card(step, &Shown::Nothing, texts));
        }
        for one in shown {
            cards.push_str(&card(step, &one, texts));
        }
    }
    let title = escape(&manifest.name);
    let sum = format!(
        "{} · {} · {} spent · {} saved · run {}",
        status_text(manifest.status),
        duration(manifest.took_ms),
        manifest.cost,
        manifest.saved,
        manifest.run_id
    );
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1><p class=\"sum\">{}{}</p><div class=\"grid\">\n{cards}</div></body></html>\n",
        escape(&sum),
        export(manifest)
    )
}

/// The destination of the export, and the files that were not exported.
fn export(manifest: &Manifest) -> String {
    let Some(export) = &manifest.exported else { return String::new() };
    let mut html = exported(export).map_or_else(String::new, |line| format!("<br>{}", escape(&line)));
    for left in &export.failed {
        html.push_str(&format!(
            "<br><span class=\"bad\">{}: {}</span>",
            escape(&left.name),
            escape(&left.failure.to_string())
        ));
    }
    html
}

/// The content of a card.
enum Shown<'a> {
    File(&'a SavedFile),
    Missing(&'a MissingFile),
    /// A step without an output.
    Nothing,
}

fn card(step: &ManifestStep, shown: &Shown, texts: &BTreeMap<&str, String>) -> String {
    let medium = match shown {
        Shown::File(file) => medium(file, texts),
        Shown::Missing(missing) => format!("<blockquote class=\"bad\">{}</blockquote>", escape(&missing.to_string())),
        Shown::Nothing => String::new(),
    };
    let took = step.took_ms.map_or_else(String::new, |ms| format!(" · {}", duration(ms)));
    let facts = format!("{} · {}{took} · {}", step.model, source(step.source), step.cost);
    let why = step.failure.as_ref().map_or_else(String::new, |failure| {
        let text = format!("{failure}. {}", failure.name.advice());
        format!("<p class=\"why bad\">{}</p>", escape(&text))
    });
    format!(
        "<figure>{medium}<figcaption><b>{}</b><small>{}</small>{why}</figcaption></figure>\n",
        escape(match shown {
            Shown::File(SavedFile { name, .. }) | Shown::Missing(MissingFile { name, .. })
                if step.outputs.len() > 1 =>
                name,
            _ => step.name.as_str(),
        }),
        escape(&facts)
    )
}

fn medium(file: &SavedFile, texts: &BTreeMap<&str, String>) -> String {
    let name = escape(&file.name);
    match file.kind {
        MediaKind::Image => format!("<a href=\"{name}\"><img src=\"{name}\" alt=\"{name}\" loading=\"lazy\"></a>"),
        MediaKind::Video => format!("<video src=\"{name}\" controls muted loop preload=\"metadata\"></video>"),
        MediaKind::Text => {
            let text = texts.get(file.name.as_str()).map_or("", String::as_str);
            format!("<blockquote>{}</blockquote>", escape(text))
        }
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_export_is_mentioned_with_what_failed() {
        let manifest = |exported: serde_json::Value| -> Manifest {
            let manifest = json!({"version": 2, "run_id": "run-00000001", "name": "n", "status": "succeeded", "created_at": 0,
                "ended_at": 1, "took_ms": 1, "sequential_ms": 1, "speed_up": 1.0, "cost": 0, "saved": 0, "function_calls": 1,
                "failure": null, "exported": exported, "steps": []});
            serde_json::from_value(manifest).unwrap()
        };
        assert_eq!(export(&manifest(json!(null))), "");
        assert_eq!(export(&manifest(json!({"to": "s3://b/r", "files": []}))), "");
        let failure = json!({"name": "Storage.Denied", "message": "<denied>"});
        let html = export(&manifest(
            json!({"to": "s3://b/r", "files": ["a.jpg"], "failed": [{"name": "b.jpg", "failure": failure}]}),
        ));
        assert!(html.starts_with("<br>Exported: 1 file to s3://b/r, and 1 not<br>"), "{html}");
        assert!(html.contains("b.jpg: ") && html.contains("&lt;denied&gt;"), "{html}");
    }

    #[test]
    fn markup_in_texts_is_shown_and_not_obeyed() {
        assert_eq!(escape("<img src=x onerror='a()'>&\""), "&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&quot;");
    }
}
