//! What is computed once, from the text, before anything is written: so that rules about prompts run on metadata and
//! nobody has to read a prompt.

use hmac::{Hmac, Mac};
use inferwatch_udfs::injection::{self, Matcher, Recall, Role};
use inferwatch_udfs::pii;
use inferwatch_udfs::text::{
    entropy::text_entropy, hidden::hidden_characters, sketch::text_sketch,
};
use sha2::Sha256;

use super::record::{CallRow, Direction, Part, PartType};
use crate::schema::InjectionFinding;

/// A call with more hits than this tells nothing new by the next one.
const MAX_FINDINGS: usize = 32;

/// Computes what the metadata tier knows about text. One per thread: it keeps buffers.
pub(super) struct Enricher {
    matcher: &'static Matcher,
    key: Hmac<Sha256>,
    injection: Recall,
    pii: pii::Scratch,
    joined: String,
}

impl Enricher {
    /// `secret` keys the hashes, so that nobody without it can test a guess.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Enricher {
            matcher: Matcher::builtin(),
            key: Hmac::new_from_slice(secret).expect("a key of any length will do"),
            injection: Recall::new(Matcher::builtin()),
            pii: pii::Scratch::default(),
            joined: String::new(),
        }
    }

    /// Fills the columns that come from text.
    pub(super) fn enrich(&mut self, row: &mut CallRow<'_>) {
        let CallRow { call, parts } = row;
        let history = history_end(parts);
        let (mut inputs, mut outputs) = (Side::default(), Side::default());
        let (mut input_hash, mut output_hash) = (self.key.clone(), self.key.clone());
        self.joined.clear();
        for (seq, part) in parts.iter().enumerate() {
            let side = match part.direction {
                Direction::Input => &mut inputs,
                Direction::Output => &mut outputs,
                Direction::Withheld | Direction::GuardrailMatch | Direction::Error => continue,
            };
            let text = part.text.unwrap_or_default();
            if part.part_type != PartType::Media {
                side.any = true;
                side.length += text.chars().count() as i64;
                let hash = if part.direction == Direction::Input {
                    &mut input_hash
                } else {
                    &mut output_hash
                };
                // The length in front keeps two parts from reading like one.
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            if is_history(part, history) {
                continue;
            }
            side.hidden += hidden_characters(text);
            for text in [part.text, part.tool_arguments].into_iter().flatten() {
                for (kind, count) in pii::scan(text, &mut self.pii).counts().iter() {
                    side.pii_count += count;
                    if !side.pii_kinds.contains(&kind.name()) {
                        side.pii_kinds.push(kind.name());
                    }
                }
            }
            if part.direction == Direction::Input && part.role != Some("system") && !text.is_empty()
            {
                if !self.joined.is_empty() {
                    self.joined.push('\n');
                }
                self.joined.push_str(text);
            }
            if part.part_type == PartType::Media || text.is_empty() {
                continue;
            }
            let role = match part.part_type {
                PartType::ToolResult => Role::Tool,
                _ => Role::from_name(part.role.unwrap_or_default()),
            };
            let verdict = self.injection.scan(text, role);
            if verdict.hits.is_empty() {
                continue;
            }
            call.injection_score = Some(call.injection_score.unwrap_or(0.0).max(verdict.score));
            for hit in verdict
                .hits
                .iter()
                .take(MAX_FINDINGS.saturating_sub(call.injection_findings.len()))
            {
                let signature: &'static injection::Signature =
                    self.matcher.signature(hit.signature);
                let (id, category) = (signature.id.as_str(), signature.category.as_str());
                push_new(&mut call.injection_signatures, id);
                push_new(&mut call.injection_categories, category);
                call.injection_findings.push(InjectionFinding {
                    signature: Some(id),
                    category: Some(category),
                    direction: Some(part.direction.name()),
                    role: part.role,
                    seq: i32::try_from(seq).ok(),
                    start: Some(hit.start as i64),
                    end: Some(hit.end as i64),
                    via: Some(hit.via.name()),
                });
            }
        }
        if inputs.any {
            call.input_text_length.get_or_insert(inputs.length);
            call.input_sha256 = Some(input_hash.finalize().into_bytes().into());
            call.injection_score.get_or_insert(0.0);
        }
        if outputs.any {
            call.output_text_length.get_or_insert(outputs.length);
            call.output_sha256 = Some(output_hash.finalize().into_bytes().into());
        }
        if !self.joined.is_empty() {
            call.input_entropy = Some(text_entropy(&self.joined));
            call.input_sketch =
                text_sketch(&self.joined).map(|sketch| Box::from(sketch.as_slice()));
        }
        if inputs.any {
            call.hidden_character_count = i32::try_from(inputs.hidden).ok();
            call.input_pii_count = i32::try_from(inputs.pii_count).ok();
            call.input_pii_kinds = inputs.pii_kinds;
        }
        if outputs.any {
            call.output_pii_count = i32::try_from(outputs.pii_count).ok();
            call.output_pii_kinds = outputs.pii_kinds;
        }
    }
}

#[derive(Default)]
struct Side {
    any: bool,
    length: i64,
    hidden: usize,
    pii_count: u32,
    pii_kinds: Vec<&'static str>,
}

fn push_new<'a>(list: &mut Vec<&'a str>, text: &'a str) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// Messages up to this one were part of an earlier call: the last answer of the model that the request repeats.
pub(super) fn history_end(parts: &[Part<'_>]) -> Option<u32> {
    parts
        .iter()
        .filter(|part| part.direction == Direction::Input && part.role == Some("assistant"))
        .map(|part| part.message)
        .max()
}

/// Whether a part repeats an earlier turn. A system prompt is sent anew each time and is not history.
pub(super) fn is_history(part: &Part<'_>, history_end: Option<u32>) -> bool {
    part.direction == Direction::Input
        && part.role != Some("system")
        && history_end.is_some_and(|end| part.message <= end)
}
