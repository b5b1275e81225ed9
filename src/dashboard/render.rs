//! A board as a file: its data as JSON, or a page that needs no server and no network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Answer, answer};
use super::asked::Asked;
use super::meta;
use crate::catalog::{Board, Dashboards};
use crate::detect::time_text;
use crate::query::{Engine, Failure};

/// The front end, built ahead: see `web/`.
#[derive(Debug, Clone, Copy)]
pub struct App {
    /// The program.
    pub script: &'static str,
    /// How it looks.
    pub style: &'static str,
    /// Its sign, as SVG.
    pub icon: &'static str,
}

impl App {
    /// As it was when this program was built.
    pub const BUILT: App = App {
        script: include_str!("../../web/dist/app.js"),
        style: include_str!("../../web/dist/app.css"),
        icon: include_str!("../../web/dist/icon.svg"),
    };
}

/// A board with the answers of all its panels. A panel that fails says so in its place; `is_whole` is false then.
pub async fn json(
    engine: &Engine,
    dashboards: &Dashboards,
    board: &Board,
    asked: &Asked,
    mut each: impl FnMut(&str, &Result<Answer, Failure>),
) -> (Value, bool) {
    let mut answers = Map::new();
    let mut is_whole = true;
    for panel in dashboards.panels_of(&board.id) {
        let result = answer(engine, panel, asked).await;
        each(&panel.id, &result);
        let value = match result {
            Ok(answer) => answer.json(),
            Err(failure) => {
                is_whole = false;
                json!({"error": failure.to_string(), "hint": failure.hint()})
            }
        };
        answers.insert(panel.id.clone(), value);
    }
    let data = json!({
        "board": meta::board(dashboards, board),
        "from": time_text(asked.from),
        "to": time_text(asked.to),
        "caller": asked.caller,
        "model": asked.model,
        "answers": answers,
    });
    (data, is_whole)
}

/// The page for such data. Its policy lets a browser run this one script and load nothing.
pub fn html(data: &Value) -> String {
    let App { script, style, .. } = App::BUILT;
    let title = data["board"]["title"].as_str().unwrap_or("dashboard");
    // In a script of data only `<` could end it; in JSON that is the same character.
    let data = data.to_string().replace('<', "\\u003c");
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; script-src 'sha256-{}'; \
         style-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · inferwatch</title>\n<style>{style}</style>\n</head>\n<body>\n\
         <script type=\"application/json\" id=\"page-data\">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n",
        hash(script),
        hash(style),
        escaped(title),
    )
}

/// A text between tags.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_its_script() {
        let hostile = "</script><img src=x onerror=alert(1)><!--";
        let page = html(&json!({"board": {"title": hostile}, "answers": {"p": hostile}}));
        let data = page
            .split("id=\"page-data\">")
            .nth(1)
            .and_then(|rest| rest.split("</script>").next())
            .expect("the data");
        let read: Value = serde_json::from_str(data).expect("whole JSON");
        assert_eq!(read["answers"]["p"], hostile);
        assert_eq!(page.matches("<img").count(), 0);
        assert!(page.contains("<title>&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
    }

    /// The browser hashes what stands between the tags, so what is built must not end its own element.
    #[test]
    fn the_built_files_can_stand_in_a_page() {
        assert!(!App::BUILT.script.to_lowercase().contains("</script"));
        assert!(!App::BUILT.script.contains("<!--"));
        assert!(!App::BUILT.style.to_lowercase().contains("</style"));
    }
}
