//! Token counts of OpenAI's and Google's bodies in one meaning: input counts what caches served and stored, output
//! counts reasoning.

use super::parts::{count_of, warn};
use crate::ingest::json::Value;
use crate::schema::Call;

/// OpenAI's `usage`: input includes what the cache served, output includes reasoning. The responses API has other names
/// for the same.
pub(crate) fn openai<'a>(usage: Value<'a>, call: &mut Call<'a>) {
    if call.tokens_source.is_some() {
        return;
    }
    let input = count_of(usage, &["prompt_tokens", "input_tokens"], "input_tokens");
    let cached = count_of(
        usage,
        &[
            "prompt_tokens_details/cached_tokens",
            "input_tokens_details/cached_tokens",
        ],
        "cache_read_input_tokens",
    );
    let output = count_of(
        usage,
        &["completion_tokens", "output_tokens"],
        "output_tokens",
    );
    let reasoning = count_of(
        usage,
        &[
            "completion_tokens_details/reasoning_tokens",
            "output_tokens_details/reasoning_tokens",
        ],
        "reasoning_output_tokens",
    );
    let total = count_of(usage, &["total_tokens"], "total_tokens");
    Inclusive {
        input,
        cached,
        output,
        reasoning,
        total,
    }
    .fill(call);
}

/// Gemini's `usageMetadata`: input includes what the cache served, output and reasoning stand apart.
pub(crate) fn gemini<'a>(usage: Value<'a>, call: &mut Call<'a>) {
    if call.tokens_source.is_some() {
        return;
    }
    let count = |camel: &str, snake: &str, column| count_of(usage, &[camel, snake], column);
    let prompt = count("promptTokenCount", "prompt_token_count", "input_tokens");
    // What tools returned is fed to the model as well, and counted apart.
    let tools = count(
        "toolUsePromptTokenCount",
        "tool_use_prompt_token_count",
        "input_tokens",
    );
    let cached = count(
        "cachedContentTokenCount",
        "cached_content_token_count",
        "cache_read_input_tokens",
    );
    let candidates = count(
        "candidatesTokenCount",
        "candidates_token_count",
        "output_tokens",
    );
    let thoughts = count(
        "thoughtsTokenCount",
        "thoughts_token_count",
        "reasoning_output_tokens",
    );
    let total = count("totalTokenCount", "total_token_count", "total_tokens");
    Inclusive {
        input: sum(prompt, tools),
        cached,
        output: sum(candidates, thoughts),
        reasoning: thoughts,
        total,
    }
    .fill(call);
}

/// The sum of what is there.
fn sum(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}

/// Counts whose input already includes what the cache served.
#[derive(Debug, Default)]
pub(crate) struct Inclusive {
    pub(crate) input: Option<i64>,
    pub(crate) cached: Option<i64>,
    pub(crate) output: Option<i64>,
    pub(crate) reasoning: Option<i64>,
    pub(crate) total: Option<i64>,
}

impl Inclusive {
    /// Fills the token columns. Nothing at all is no report.
    pub(crate) fn fill(self, call: &mut Call<'_>) {
        if self.input.is_none() && self.output.is_none() && self.total.is_none() {
            return;
        }
        call.tokens_source = Some("reported");
        call.input_tokens = self.input;
        call.cache_read_input_tokens = self.cached;
        call.input_tokens_uncached = self.input.map(|input| {
            let uncached = input - self.cached.unwrap_or(0);
            if uncached < 0 {
                warn(call, "tokens_inconsistent");
            }
            uncached.max(0)
        });
        call.output_tokens = self.output;
        call.reasoning_output_tokens = self.reasoning;
        call.total_tokens = self.total.or_else(|| sum(self.input, self.output));
    }
}
