//! What `inferwatch.toml` says of sinks: `[sinks.<name>]`, `[[routes]]`, `[[silences]]`, `[[maintenance]]`.
//!
//! Read with the same reader as the headers of rules: values have their line, unknown keys name the nearest. The rest
//! of the file is [`crate::config`]'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::kind::Kind;
use super::matching::{Days, Maintenance, Matcher, Pattern, Silence};
use super::secret::SecretRef;
use crate::catalog::{Block, Header, Section, Severity, Span};
use crate::detect::Event;
use crate::error::{Error, Result};
use crate::suggest::nearest;

/// The keys of the file that are read here.
pub const KEYS: [&str; 4] = ["sinks", "routes", "silences", "maintenance"];

/// Everything the file says of sinks.
#[derive(Debug, Default)]
pub struct Settings {
    /// The sinks, by name.
    pub sinks: Vec<Sink>,
    /// Which findings go where; without any, every finding goes to every sink.
    pub routes: Vec<Route>,
    /// What nobody is told of for a while.
    pub silences: Vec<Silence>,
    /// Times of planned work.
    pub maintenance: Vec<Maintenance>,
}

/// One place where findings go.
#[derive(Debug)]
pub struct Sink {
    /// Its name, of letters, digits, `-` and `_`.
    pub name: String,
    /// What it is, with the settings of its kind.
    pub kind: Kind,
    /// What it is told, unless a route says otherwise.
    pub events: Vec<Event>,
    /// How long one delivery may take.
    pub timeout: Span,
    /// What happens when one fails.
    pub retry: Retry,
    /// Findings of evaluations since this instant are told when the sink is new; else those from then on.
    pub from: Option<i64>,
    /// Where people see a finding: an address with `{finding}` and `{rule}`.
    pub link: Option<String>,
}

/// How often and when a delivery that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The pause after the first failure; each doubles.
    pub first: Span,
    /// The longest pause.
    pub longest: Span,
    /// Attempts until it is a dead letter.
    pub attempts: u32,
}

/// Which findings go to which sinks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// Which.
    pub matcher: Matcher,
    /// Where, by name.
    pub sinks: Vec<String>,
    /// What happened to them; the sink's own list unless given.
    pub events: Option<Vec<Event>>,
    /// Whether text that may come from prompts or responses goes along.
    pub include_content: bool,
    /// What findings of one message have in common: `rule`, `severity`, a tag, or a column of the entity.
    pub group_by: Vec<String>,
    /// How long the first one of a group waits for others.
    pub group_wait: Span,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or the first thing that is wrong in what it says of sinks.
    pub fn read(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Settings::parse(path, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Settings> {
        let folder = path.parent().unwrap_or(Path::new(""));
        // A block begins in the line after its fence.
        let block = Block {
            kind: String::new(),
            line: 0,
            toml: text.to_string(),
        };
        let read = Header::read(&block, |section| {
            section.share();
            let settings = Settings {
                sinks: section.entries("sinks", |name, section| Sink::read(name, section, folder)),
                routes: section.tables("routes", Route::read),
                silences: section.tables("silences", read_silence),
                maintenance: section.tables("maintenance", read_maintenance),
            };
            settings.check_names(section);
            Some(settings)
        });
        read.map_err(|problems| match problems.into_iter().next() {
            Some(problem) => Error::Catalog {
                path: path.to_path_buf(),
                line: problem.line,
                message: problem.message,
                hint: problem.hint,
            },
            None => Error::Usage {
                message: format!("`{}` cannot be read", path.display()),
                hint: None,
            },
        })
    }

    /// Every name that is used must be one of a sink.
    fn check_names(&self, section: &Section<'_, '_>) {
        let limits = self.silences.iter().map(|silence| &silence.sinks);
        let limits = limits.chain(self.maintenance.iter().map(|window| &window.sinks));
        let used = self.routes.iter().map(|route| ("routes", &route.sinks));
        for (key, names) in used.chain(limits.map(|names| ("silences", names))) {
            for name in names {
                if self.sink(name).is_none() {
                    let known = self.sinks.iter().map(|sink| sink.name.as_str());
                    let near = nearest(name, known)
                        .map(|near| format!(", did you mean `{near}`?"))
                        .unwrap_or_default();
                    section.fault_at(key, format!("no sink is named `{name}`{near}"));
                }
            }
        }
    }

    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

impl Sink {
    fn read(name: &str, section: &Section<'_, '_>, folder: &Path) -> Option<Sink> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            section.fault_at(
                "kind",
                format!("`{name}` is no name of a sink: letters, digits, `-` and `_`"),
            );
        }
        let events = events(section, "events");
        let timeout = section.span("timeout");
        let retry = Retry {
            first: section.span("retry_first").unwrap_or(Span(5_000_000)),
            longest: section.span("retry_longest").unwrap_or(Span::minutes(15)),
            attempts: match section.integer("attempts") {
                None => 50,
                Some(attempts) => u32::try_from(attempts).unwrap_or(0),
            },
        };
        if retry.attempts == 0 {
            section.fault_at("attempts", "`attempts` counts from 1");
        }
        if retry.first.0 == 0 || retry.longest < retry.first {
            section.fault_at(
                "retry_longest",
                "`retry_longest` is not shorter than `retry_first`, which is not nothing",
            );
        }
        if timeout.is_some_and(|timeout| timeout.0 == 0) {
            section.fault_at("timeout", "`timeout` is longer than nothing");
        }
        let from = section.instant("from");
        let link = section.text("link");
        let kind = Kind::read(section, folder)?;
        Some(Sink {
            name: name.to_string(),
            events: events.unwrap_or_else(|| kind.default_events().to_vec()),
            timeout: timeout.unwrap_or(kind.default_timeout()),
            retry,
            from,
            link,
            kind,
        })
    }
}

impl Route {
    fn read(section: &Section<'_, '_>) -> Option<Route> {
        let sinks = section.required("sinks", |section, key| Some(section.texts(key)))?;
        if sinks.is_empty() {
            section.fault_at("sinks", "`sinks` must name at least one");
        }
        let matcher = read_matcher(section)?;
        let group_by = section.texts("group_by");
        let group_wait = section.span("group_wait");
        Some(Route {
            matcher: Matcher {
                severity: severity(section, "severity"),
                ..matcher
            },
            sinks,
            events: events(section, "events"),
            include_content: section.flag("include_content"),
            group_by,
            group_wait: group_wait.unwrap_or_default(),
        })
    }
}

/// The keys that routes, silences and maintenance windows have in common.
fn read_matcher(section: &Section<'_, '_>) -> Option<Matcher> {
    let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern::new).collect();
    Some(Matcher {
        severity: None,
        up_to: None,
        rules: patterns(section.text_or_texts("rules")),
        tags: section.text_or_texts("tags"),
        entity: section.table("entity", |value| value.get_ref().as_str().map(Pattern::new)),
    })
}

fn read_silence(section: &Section<'_, '_>) -> Option<Silence> {
    let matcher = read_matcher(section)?;
    let up_to = severity(section, "up_to");
    let until = section.required("until", Section::instant);
    let reason = section.required("reason", Section::text);
    let owner = section.required("owner", Section::text);
    let sinks = section.texts("sinks");
    let matcher = Matcher { up_to, ..matcher };
    if matcher == Matcher::default() {
        section.fault_at(
            "until",
            "a silence says of what: `rules`, `tags`, `entity` or `up_to`",
        );
    }
    Some(Silence {
        matcher,
        sinks,
        until: until?,
        reason: reason?,
        owner: owner?,
        line: section.line(),
    })
}

fn read_maintenance(section: &Section<'_, '_>) -> Option<Maintenance> {
    let matcher = read_matcher(section)?;
    let up_to = severity(section, "up_to");
    let reason = section.required("reason", Section::text);
    let owner = section.required("owner", Section::text);
    let sinks = section.texts("sinks");
    let (from, until) = (section.instant("from"), section.instant("until"));
    let (days, start, lasts) = (
        section.text_or_texts("days"),
        section.text("start"),
        section.span("lasts"),
    );
    let days = match (from, until, days.is_empty(), start, lasts) {
        (Some(from), Some(until), true, None, None) if from < until => Days::Once(from, until),
        (None, None, false, Some(start), Some(lasts)) => match Days::weekly(&days, &start, lasts) {
            Ok(days) => days,
            Err(message) => {
                section.fault_at("days", message);
                return None;
            }
        },
        _ => {
            section.fault_at(
                "from",
                "a maintenance window is from `from` until `until`, or every week on `days` at `start` for `lasts`",
            );
            return None;
        }
    };
    Some(Maintenance {
        matcher: Matcher { up_to, ..matcher },
        sinks,
        days,
        reason: reason?,
        owner: owner?,
    })
}

fn severity(section: &Section<'_, '_>, key: &'static str) -> Option<Severity> {
    section.choice(key, Severity::CHOICES)
}

fn events(section: &Section<'_, '_>, key: &'static str) -> Option<Vec<Event>> {
    let value = section.get(key)?;
    let mut events = Vec::new();
    for name in section.texts(key) {
        match Event::from_name(&name) {
            Some(event) => events.push(event),
            None => {
                let names = Event::ALL.map(Event::name);
                let hint = match nearest(&name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("one of {}", names.join(", ")),
                };
                section.fault(value, format!("nothing happens as `{name}`, {hint}"));
            }
        }
    }
    Some(events)
}

/// A secret under `<key>_env` or `<key>_file`. `keys` are the two names, and that under which it must not stand.
pub(super) fn secret(
    section: &Section<'_, '_>,
    keys: [&'static str; 3],
    folder: &Path,
) -> Option<SecretRef> {
    let [in_clear, env, file] = keys;
    if !in_clear.is_empty()
        && let Some(value) = section.get(in_clear)
    {
        section.fault(
            value,
            format!("`{in_clear}` is a secret and does not stand in the file: name where it is with `{env}` or `{file}`"),
        );
    }
    match (section.text(env), section.text(file)) {
        (Some(name), None) => Some(SecretRef::Env(name)),
        (None, Some(path)) => Some(SecretRef::File(folder.join(path))),
        (None, None) => None,
        (Some(_), Some(_)) => {
            section.fault_at(file, format!("`{env}` or `{file}`, not both"));
            None
        }
    }
}

/// A name and the secret that goes with it; neither stands alone.
pub(super) fn login(section: &Section<'_, '_>, folder: &Path) -> Option<(String, SecretRef)> {
    let user = section.text("username");
    let keys = ["password", "password_env", "password_file"];
    match (user, secret(section, keys, folder)) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            section.fault_at(
                "username",
                "`username` needs `password_env` or `password_file`, and they need it",
            );
            None
        }
    }
}

/// A table of texts.
pub(super) fn texts(section: &Section<'_, '_>, key: &'static str) -> BTreeMap<String, String> {
    section.table(key, |value| match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    })
}

/// A path, from the file's folder on.
pub(super) fn path(section: &Section<'_, '_>, key: &'static str, folder: &Path) -> Option<PathBuf> {
    Some(folder.join(section.text(key)?))
}
