//! `inferwatch explain --why-not`: prints where a rule lost a subject, step by step, and why in one sentence.

use clap::ValueEnum;

use super::pack;
use crate::catalog::{Pack, RuleFile};
use crate::detect::{Question, WhyNot, time_text, why_not};
use crate::output;
use crate::output::escape::visible;
use crate::store::Store;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Human,
    /// One JSON object a rule
    Json,
}

/// What is asked of every rule.
pub(super) struct Asked<'a> {
    pub(super) entity: &'a [(String, String)],
    pub(super) at: i64,
    pub(super) memory: u64,
    pub(super) format: Format,
}

/// `column=value`.
pub(super) fn parse_entity(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_string(), value.to_string()))
        }
        _ => Err("not `column=value`, as caller=alice".to_string()),
    }
}

/// Explains rules.
pub(super) fn explain(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    pack: &Pack,
    rules: &[&RuleFile],
    asked: &Asked<'_>,
) -> anyhow::Result<()> {
    let exceptions = pack::exceptions(runtime, pack)?;
    for file in rules {
        let settings = pack.settings.iter().filter(|it| it.rule == file.rule.id);
        let overrides: Vec<_> = settings
            .map(|it| (it.param.clone(), it.value.clone()))
            .collect();
        let question = Question {
            entity: asked.entity,
            at: asked.at,
            overrides: &overrides,
            exceptions: &exceptions,
            memory: asked.memory,
        };
        let why = runtime.block_on(why_not(store, file, &question))?;
        match asked.format {
            Format::Json => output::data(&why.json().to_string())?,
            Format::Human => human(&why)?,
        }
    }
    Ok(())
}

fn human(why: &WhyNot) -> crate::Result<()> {
    let line = |text: String| output::data(&visible(&text));
    let entity = why
        .entity
        .iter()
        .map(|(name, value)| format!("{name} = {value}"));
    line(format!(
        "{} version {}: {}",
        why.rule_id,
        why.rule_version,
        entity.collect::<Vec<_>>().join(", ")
    ))?;
    let fact = |name: &str, text: &str| line(format!("{name:<9} {text}"));
    let (start, end) = (time_text(why.window.start), time_text(why.window.end));
    fact("window", &format!("{start} to {end}"))?;
    let mut part = None;
    for step in &why.steps {
        if step.part != part {
            part.clone_from(&step.part);
            let name = part.as_deref().unwrap_or("the query");
            line(format!("  {name}"))?;
        }
        let note = step
            .note
            .as_ref()
            .map_or(String::new(), |note| format!("  ({note})"));
        line(format!("{:>11}  {}{note}", step.left, step.what))?;
    }
    let detail = why
        .detail
        .as_ref()
        .map_or(String::new(), |detail| format!(": {detail}"));
    fact("now", &format!("{}{detail}", why.state.name()))?;
    for (name, text) in &why.facts {
        fact(name, text)?;
    }
    fact("because", &why.answer.sentence)?;
    match &why.answer.hint {
        Some(hint) => line(format!("hint: {hint}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_entity;

    #[test]
    fn a_subject_is_a_column_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_string(), value.to_string()));
        assert_eq!(parse_entity("caller=alice"), pair("caller", "alice"));
        assert_eq!(parse_entity("caller=a=b"), pair("caller", "a=b"));
        assert_eq!(parse_entity("caller="), pair("caller", ""));
        assert!(parse_entity("alice").is_err());
        assert!(parse_entity("=alice").is_err());
    }
}
