//! What people know to have happened, and how much of it rules find.
//!
//! A label says that something happened (or did not) to a subject in a range of time. A finding hits a label when it is
//! of the same subject and overlaps it. Shares of few labels say little, so each comes with its 95 % interval.

use std::path::Path;

use serde_json::{Map, Value};

use super::episode::Episode;
use super::json;
use crate::catalog::Rule;
use crate::error::{Error, Result};
use crate::suggest::nearest;

/// One thing that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The rule that it is about; all of those asked where it does not say.
    pub rule: Option<String>,
    /// Columns of the entity and their values.
    pub entity: Vec<(String, String)>,
    /// When it began and ended, in microseconds; all the time where it does not say.
    pub range: (i64, i64),
    /// Whether it is to be found, or is harmless.
    pub is_true: bool,
    /// Its line in the file.
    pub line: usize,
}

/// Keys of a label that are no columns of an entity.
const KEYS: [&str; 4] = ["rule", "from", "to", "label"];

/// Reads labels: JSON objects, one a line, or CSV with a header.
///
/// # Errors
/// The first line that is no label.
pub fn read(path: &Path, rules: &[&Rule]) -> Result<Vec<Label>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let fault = |line: usize, message: String, hint: Option<String>| Error::Usage {
        message: format!("{}:{line}: {message}", path.display()),
        hint,
    };
    let is_json = text.trim_start().starts_with('{');
    let rows = match is_json {
        true => json_rows(&text),
        false => csv_rows(&text),
    };
    let rows = rows.map_err(|(line, message)| fault(line, message, None))?;
    let mut labels = Vec::with_capacity(rows.len());
    for (line, row) in rows {
        let label = Label::of(line, &row).map_err(|message| fault(line, message, None))?;
        check(&label, rules).map_err(|(message, hint)| fault(line, message, hint))?;
        labels.push(label);
    }
    if labels.is_empty() {
        return Err(fault(1, "no label".to_string(), None));
    }
    Ok(labels)
}

type Rows = std::result::Result<Vec<(usize, Map<String, Value>)>, (usize, String)>;

fn json_rows(text: &str) -> Rows {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| match serde_json::from_str(line) {
            Ok(Value::Object(row)) => Ok((index + 1, row)),
            Ok(_) => Err((index + 1, "not a JSON object".to_string())),
            Err(error) => Err((index + 1, format!("not JSON: {error}"))),
        })
        .collect()
}

fn csv_rows(text: &str) -> Rows {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let head = reader.headers().map_err(|error| (1, error.to_string()))?;
    let head: Vec<String> = head.iter().map(str::to_string).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            (line as usize, error.to_string())
        })?;
        let line = record.position().map_or(1, csv::Position::line) as usize;
        let cells = head.iter().zip(record.iter());
        let cells = cells.filter(|(_, cell)| !cell.is_empty());
        rows.push((
            line,
            cells
                .map(|(name, cell)| (name.clone(), cell.into()))
                .collect(),
        ));
    }
    Ok(rows)
}

impl Label {
    fn of(line: usize, row: &Map<String, Value>) -> std::result::Result<Label, String> {
        let instant = |name: &str| match row.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let text = value.as_str().unwrap_or_default();
                let time = crate::ingest::time::parse(text);
                let time = time.ok_or_else(|| {
                    format!("`{name}` is no time such as 2026-01-31T12:00:00Z: {value}")
                })?;
                Ok::<_, String>(Some(time.micros.0))
            }
        };
        let range = (
            instant("from")?.unwrap_or(i64::MIN),
            instant("to")?.unwrap_or(i64::MAX),
        );
        if range.0 > range.1 {
            return Err("`to` is before `from`".to_string());
        }
        let is_true = match row.get("label") {
            None | Some(Value::Null) | Some(Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(Value::String(word)) => match word.to_lowercase().as_str() {
                "true" | "yes" | "1" | "tp" | "malicious" => true,
                "false" | "no" | "0" | "fp" | "benign" => false,
                _ => return Err(format!("`label` is true or false, not `{word}`")),
            },
            Some(other) => return Err(format!("`label` is true or false, not {other}")),
        };
        let text = |value: &Value| json::plain(value).into_owned();
        let mut entity = Vec::new();
        for (name, value) in row
            .iter()
            .filter(|(name, _)| !KEYS.contains(&name.as_str()))
        {
            match value {
                // As findings have it.
                Value::Object(nested) if name == "entity" => {
                    entity.extend(
                        nested
                            .iter()
                            .map(|(name, value)| (name.clone(), text(value))),
                    );
                }
                Value::Null => {}
                value => entity.push((name.clone(), text(value))),
            }
        }
        if entity.is_empty() {
            return Err("it names no subject: a column of the entity, as `caller`".to_string());
        }
        Ok(Label {
            rule: row.get("rule").and_then(Value::as_str).map(str::to_string),
            entity,
            range,
            is_true,
            line,
        })
    }

    /// Whether it is about a rule.
    pub fn is_about(&self, rule: &Rule) -> bool {
        match &self.rule {
            Some(id) => *id == rule.id,
            None => self
                .entity
                .iter()
                .all(|(name, _)| rule.entity.contains(name)),
        }
    }

    /// Whether a finding is of its subject and overlaps it.
    pub fn is_hit_by(&self, episode: &Episode) -> bool {
        let is_subject = json::has(&episode.entity, &self.entity);
        let (first, last) = span(episode);
        is_subject && first <= self.range.1 && last >= self.range.0
    }

    /// As one JSON object.
    pub fn json(&self) -> Value {
        let time = |micros: i64| match micros {
            i64::MIN | i64::MAX => Value::Null,
            micros => super::time_text(micros).into(),
        };
        let entity: Map<String, Value> = self
            .entity
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        serde_json::json!({
            "entity": entity,
            "from": time(self.range.0),
            "to": time(self.range.1),
            "line": self.line,
        })
    }
}

/// First and last instant that a finding tells of.
pub fn span(episode: &Episode) -> (i64, i64) {
    (
        episode.first_seen.unwrap_or(episode.first_window.start),
        episode.last_seen.unwrap_or(episode.last_window.end),
    )
}

fn check(label: &Label, rules: &[&Rule]) -> std::result::Result<(), (String, Option<String>)> {
    // Labels of rules that are not asked are for another time.
    let asked = rules.iter().filter(|rule| match &label.rule {
        Some(id) => *id == rule.id,
        None => true,
    });
    let asked: Vec<&&Rule> = asked.collect();
    for (column, _) in &label.entity {
        if !asked.is_empty() && !asked.iter().any(|rule| rule.entity.contains(column)) {
            let known = asked
                .iter()
                .flat_map(|rule| rule.entity.iter().map(String::as_str));
            let hint =
                nearest(column, known.chain(KEYS)).map(|near| format!("did you mean `{near}`?"));
            return Err((
                format!("`{column}` is no column of the entity of a rule that is asked"),
                hint,
            ));
        }
    }
    Ok(())
}

/// How a rule did against what is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    /// Labels of what is to be found.
    pub wanted: usize,
    /// Those that no finding hits.
    pub missed: Vec<Label>,
    /// Findings that hit one of what is to be found.
    pub hits: usize,
    /// Findings that are false.
    pub wrong: Vec<Episode>,
    /// Findings that no label tells of, where the labels say what is harmless too.
    pub unknown: usize,
}

impl Score {
    /// Scores findings of a rule. Without any label of what is harmless, the labels are taken to be all that there is,
    /// and every other finding is false; with some, only those that hit one of these.
    pub fn of(rule: &Rule, labels: &[Label], episodes: &[Episode]) -> Score {
        let labels: Vec<&Label> = labels.iter().filter(|label| label.is_about(rule)).collect();
        let is_complete = labels.iter().all(|label| label.is_true);
        let wanted: Vec<&&Label> = labels.iter().filter(|label| label.is_true).collect();
        let mut score = Score {
            wanted: wanted.len(),
            ..Score::default()
        };
        let is_missed = |label: &&&&Label| !episodes.iter().any(|episode| label.is_hit_by(episode));
        score.missed = wanted
            .iter()
            .filter(|label| is_missed(label))
            .map(|label| (**label).clone())
            .collect();
        for episode in episodes {
            let hits = |label: &&&Label| label.is_hit_by(episode);
            if wanted.iter().any(|label| label.is_hit_by(episode)) {
                score.hits += 1;
            } else if is_complete || labels.iter().find(hits).is_some() {
                score.wrong.push(episode.clone());
            } else {
                score.unknown += 1;
            }
        }
        score
    }

    /// The share of what is to be found that was found.
    pub fn recall(&self) -> Option<Share> {
        Share::of(self.wanted - self.missed.len(), self.wanted)
    }

    /// The share of findings that are right.
    pub fn precision(&self) -> Option<Share> {
        Share::of(self.hits, self.hits + self.wrong.len())
    }
}

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// What was counted.
    pub value: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Share {
    /// Wilson's score interval, which stays sound for few and for all or none; `None` of nothing.
    pub fn of(hits: usize, of: usize) -> Option<Share> {
        /// The 97.5 % point of the normal distribution.
        const Z: f64 = 1.959_963_984_540_054;
        if of == 0 {
            return None;
        }
        let (n, share) = (of as f64, hits as f64 / of as f64);
        let scale = 1.0 + Z * Z / n;
        let center = (share + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        Some(Share {
            value: share,
            low: (center - half).max(0.0),
            high: (center + half).min(1.0),
        })
    }

    /// As one JSON object.
    pub fn json(self) -> Value {
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        serde_json::json!({
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
        })
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |value: f64| value * 100.0;
        write!(
            f,
            "{:.0}% ({:.0}-{:.0})",
            percent(self.value),
            percent(self.low),
            percent(self.high)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Pack, Severity};
    use crate::detect::Window;
    use serde_json::json;

    #[test]
    fn intervals_are_those_of_wilson() {
        // Worked out apart, in Python, from (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
        for (hits, of, low, high) in [
            (9, 10, 0.595_850, 0.982_124),
            (0, 20, 0.0, 0.161_125),
            (5, 5, 0.565_518, 1.0),
            (50, 100, 0.403_832, 0.596_168),
        ] {
            let share = Share::of(hits, of).expect("of some");
            assert!((share.low - low).abs() < 1e-5, "{share:?}");
            assert!((share.high - high).abs() < 1e-5, "{share:?}");
        }
        assert_eq!(Share::of(0, 0), None);
        assert_eq!(
            Share::of(9, 10).map(|it| it.to_string()),
            Some("90% (60-98)".to_string())
        );
    }

    fn episode(caller: &str, first: i64, last: i64) -> Episode {
        let window = Window {
            start: first,
            end: last,
        };
        let entity: Map<String, Value> = [("caller".to_string(), json!(caller))]
            .into_iter()
            .collect();
        Episode {
            rule_id: "token-burn".into(),
            rule_version: 1,
            title: String::new(),
            severity: Severity::High,
            evidence: entity.clone(),
            entity,
            first_window: window,
            last_window: window,
            windows: 1,
            event_count: None,
            first_seen: Some(first),
            last_seen: Some(last),
            score: None,
            is_open: false,
        }
    }

    fn label(caller: &str, range: (i64, i64), is_true: bool) -> Label {
        Label {
            rule: None,
            entity: vec![("caller".into(), caller.into())],
            range,
            is_true,
            line: 1,
        }
    }

    fn scored(labels: &[Label], episodes: &[Episode]) -> Score {
        let pack = Pack::embedded();
        Score::of(
            &pack.rule("token-burn").expect("ships").rule,
            labels,
            episodes,
        )
    }

    #[test]
    fn what_is_not_labelled_is_false_where_labels_are_complete() {
        let episodes = [
            episode("a", 10, 20),
            episode("a", 100, 110),
            episode("b", 10, 20),
        ];
        let score = scored(
            &[label("a", (20, 30), true), label("c", (0, 50), true)],
            &episodes,
        );
        assert_eq!((score.wanted, score.missed.len(), score.hits), (2, 1, 1));
        assert_eq!(score.missed[0].entity[0].1, "c");
        assert_eq!((score.wrong.len(), score.unknown), (2, 0));
        assert_eq!(score.recall().map(|it| it.value), Some(0.5));
        assert_eq!(
            score.precision().map(|it| (it.value * 3.0).round()),
            Some(1.0)
        );
    }

    #[test]
    fn with_harmless_labels_the_rest_is_unknown() {
        let episodes = [
            episode("a", 10, 20),
            episode("a", 100, 110),
            episode("b", 10, 20),
        ];
        let labels = [
            label("a", (0, 30), true),
            label("b", (i64::MIN, i64::MAX), false),
        ];
        let score = scored(&labels, &episodes);
        assert_eq!((score.hits, score.wrong.len(), score.unknown), (1, 1, 1));
        assert_eq!(score.wrong[0].entity["caller"], "b");
        assert_eq!(score.precision().map(|it| it.value), Some(0.5));
    }

    #[test]
    fn both_forms_of_file_are_read() {
        let pack = Pack::embedded();
        let rules = [&pack.rule("token-burn").expect("ships").rule];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("labels");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("ours");
            read(&path, &rules).map_err(|error| error.to_string())
        };
        let of_json = read("{\"caller\": \"a\", \"from\": \"1970-01-01T00:00:01Z\", \"to\": \"1970-01-01T00:00:02Z\"}\n\n{\"entity\": {\"caller\": \"b\"}, \"label\": false}\n").expect("labels");
        let of_csv = read(
            "caller,from,to,label\na,1970-01-01T00:00:01Z,1970-01-01T00:00:02Z,\nb,,,benign\n",
        )
        .expect("labels");
        assert_eq!(
            of_json[0],
            Label {
                line: 1,
                ..label("a", (1_000_000, 2_000_000), true)
            }
        );
        assert_eq!(
            of_json[1],
            Label {
                line: 3,
                ..label("b", (i64::MIN, i64::MAX), false)
            }
        );
        let same: Vec<Label> = of_csv
            .into_iter()
            .zip(&of_json)
            .map(|(it, json)| Label {
                line: json.line,
                ..it
            })
            .collect();
        assert_eq!(same, of_json);
        for (text, message) in [
            (
                "{\"caller\": \"a\", \"from\": \"noon\"}",
                "`from` is no time",
            ),
            ("{\"from\": \"1970-01-01T00:00:01Z\"}", "names no subject"),
            ("{\"callr\": \"a\"}", "`callr` is no column of the entity"),
            (
                "{\"caller\": \"a\", \"label\": \"maybe\"}",
                "true or false, not `maybe`",
            ),
            ("caller\n", "no label"),
        ] {
            let error = read(text).expect_err("no label");
            assert!(error.contains(message) && error.contains(":1:"), "{error}");
        }
    }
}
