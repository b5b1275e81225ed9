//! `backtest --labels`: how much of what is known rules find, and how much of what they find is right.

use serde_json::{Value, json};

use super::diff;
use crate::detect::{Label, Score, Share, time_text};
use crate::output;
use crate::output::escape::visible;

/// The share, or nothing to have a share of.
pub(super) fn text(share: Option<Share>) -> String {
    share.map_or("-".to_string(), |share| share.to_string())
}

pub(super) fn json(score: &Score) -> Value {
    json!({
        "wanted": score.wanted,
        "hits": score.hits,
        "unknown": score.unknown,
        "recall": score.recall().map(Share::json),
        "precision": score.precision().map(Share::json),
        "missed": score.missed.iter().map(Label::json).collect::<Vec<_>>(),
        "false": score.wrong.iter().map(|episode| episode.json()).collect::<Vec<_>>(),
    })
}

/// Lists what was missed and what is false.
pub(super) fn print(rule: &str, score: &Score) -> crate::Result<()> {
    for label in &score.missed {
        let entity = label
            .entity
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let entity = entity.collect::<Vec<_>>().join(" ");
        let time = |micros: i64| match micros {
            i64::MIN => "the beginning".to_string(),
            i64::MAX => "the end".to_string(),
            micros => time_text(micros),
        };
        output::data(&visible(&format!(
            "missed  {rule}  {entity}  {} to {} (line {})",
            time(label.range.0),
            time(label.range.1),
            label.line
        )))?;
    }
    for episode in &score.wrong {
        output::data(&visible(&format!(
            "false   {rule}  {}",
            diff::line(episode)
        )))?;
    }
    if let Some(label) = score.missed.iter().find(|label| label.range.0 > i64::MIN) {
        let (name, value) = &label.entity[0];
        let end = if label.range.1 == i64::MAX {
            label.range.0
        } else {
            label.range.1
        };
        output::note(&format!(
            "hint: `inferwatch explain {rule} --why-not {name}={value} --at {}` says why one was missed",
            time_text(end)
        ));
    }
    Ok(())
}
