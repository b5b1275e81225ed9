//! From the attributes of all generations of the conventions to columns.
//!
//! Each list below names one meaning: the current name first, then the older ones, then those of libraries that went
//! their own way (OpenLLMetry's `llm.…`, OpenInference's `llm.token_count.…`, vLLM's `gen_ai.latency.…`).

use super::super::address;
use super::super::body::parts::{code, code_at, finish};
use super::super::json::Value;
use super::super::record::CallRow;
use super::super::{names, tokens};
use crate::schema::{Call, GuardrailFinding};

/// Operations that are a call of a model; all others stand around one.
const MODEL_OPERATIONS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

/// What kind of work a span or event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum Work {
    /// One call of a model.
    Model,
    /// An agent, a tool, a workflow, a guardrail: work around calls.
    Around,
}

/// Whether a span or event is about generative AI at all, by the names of its attributes.
pub(super) fn is_genai(attributes: Value<'_>) -> bool {
    attributes.entries().any(|(key, _)| is_genai_key(key))
}

/// Whether a name is one of the conventions'.
pub(super) fn is_genai_key(key: &str) -> bool {
    const PREFIXES: [&str; 4] = ["gen_ai.", "llm.", "traceloop.", "openinference."];
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Fills every column that attributes speak of, except texts and outcome. `name` is the span's or event's.
pub(in crate::ingest) fn fill<'a>(
    attributes: Value<'a>,
    resource: Option<Value<'a>>,
    name: Option<&'a str>,
    row: &mut CallRow<'a>,
) -> Work {
    let call = &mut row.call;
    let first = |paths: &[&str], column| {
        paths
            .iter()
            .find_map(|path| code_at(attributes, path, column))
    };
    let provider = first(
        &[
            "gen_ai.provider.name",
            "gen_ai.system",
            "llm.provider",
            "llm.vendor",
            "llm.system",
        ],
        "provider",
    );
    call.provider = provider.map(names::provider);
    call.model_id_raw = first(
        &[
            "gen_ai.request.model",
            "llm.request.model",
            "llm.model_name",
            "embedding.model_name",
        ],
        "model_id_raw",
    );
    call.response_model = first(
        &["gen_ai.response.model", "llm.response.model"],
        "response_model",
    );
    if let Some(raw) = call.model_id_raw.or(call.response_model) {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    call.request_id = first(&["gen_ai.request.id"], "request_id");
    call.response_id = first(&["gen_ai.response.id", "llm.response.id"], "response_id");
    call.conversation_id = first(
        &["gen_ai.conversation.id", "session.id", "thread.id"],
        "conversation_id",
    );
    call.service_name = resource.and_then(|resource| resource.text("service.name", "service_name"));
    sampling(attributes, row);
    usage(attributes, row);
    people(attributes, row);
    guardrail(attributes, row);
    operation(attributes, name, row)
}

fn sampling<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let number =
        |paths: &[&str], column| paths.iter().find_map(|path| attributes.float(path, column));
    let seconds = |paths: &[&str]| {
        let column = "time_to_first_chunk_ms";
        paths
            .iter()
            .find_map(|path| attributes.positive(path, column))
            .map(|seconds| seconds * 1e3)
    };
    call.temperature = number(
        &[
            "gen_ai.request.temperature",
            "llm.request.temperature",
            "llm.temperature",
        ],
        "temperature",
    );
    call.top_p = number(
        &["gen_ai.request.top_p", "llm.request.top_p", "llm.top_p"],
        "top_p",
    );
    let most = [
        "gen_ai.request.max_tokens",
        "llm.request.max_tokens",
        "llm.max_tokens",
    ];
    tokens::fill(&mut call.max_tokens, attributes, &most, "max_tokens");
    call.request_stream = [
        "gen_ai.request.stream",
        "gen_ai.is_streaming",
        "llm.is_streaming",
    ]
    .iter()
    .find_map(|path| attributes.flag(path, "request_stream"));
    call.time_to_first_chunk_ms = seconds(&[
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
        "gen_ai.latency.time_to_first_token",
    ]);
    call.cost_usd = [
        "gen_ai.usage.cost",
        "gen_ai.cost.total_cost",
        "llm.cost.total",
    ]
    .iter()
    .find_map(|path| attributes.positive(path, "cost_usd"));
    let reasons = [
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "llm.response.finish_reason",
        "llm.response.finish_reasons",
        "llm.response.stop_reason",
    ];
    for found in reasons.iter().filter_map(|path| attributes.get(path)) {
        found.mark("finish_reasons");
        for reason in found.structure().items_or_self() {
            finish(row, reason.as_text().and_then(code));
        }
    }
}

/// The input count should include what caches served and stored.
fn usage<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let counts: [(&mut Option<i64>, &[&str], &'static str); 6] = [
        (
            &mut call.input_tokens,
            &[
                "gen_ai.usage.input_tokens",
                "gen_ai.usage.prompt_tokens",
                "llm.usage.prompt_tokens",
                "llm.token_count.prompt",
            ],
            "input_tokens",
        ),
        (
            &mut call.output_tokens,
            &[
                "gen_ai.usage.output_tokens",
                "gen_ai.usage.completion_tokens",
                "llm.usage.completion_tokens",
                "llm.token_count.completion",
            ],
            "output_tokens",
        ),
        (
            &mut call.total_tokens,
            &[
                "gen_ai.usage.total_tokens",
                "llm.usage.total_tokens",
                "llm.token_count.total",
            ],
            "total_tokens",
        ),
        (
            &mut call.cache_read_input_tokens,
            &[
                "gen_ai.usage.cache_read.input_tokens",
                "gen_ai.usage.cache_read_input_tokens",
                "llm.token_count.prompt_details.cache_read",
            ],
            "cache_read_input_tokens",
        ),
        (
            &mut call.cache_write_input_tokens,
            &[
                "gen_ai.usage.cache_write.input_tokens",
                "gen_ai.usage.cache_creation.input_tokens",
                "gen_ai.usage.cache_creation_input_tokens",
                "llm.token_count.prompt_details.cache_write",
            ],
            "cache_write_input_tokens",
        ),
        (
            &mut call.reasoning_output_tokens,
            &[
                "gen_ai.usage.reasoning.output_tokens",
                "gen_ai.usage.reasoning_tokens",
                "llm.usage.reasoning_tokens",
                "llm.token_count.completion_details.reasoning",
            ],
            "reasoning_output_tokens",
        ),
    ];
    for (slot, paths, column) in counts {
        tokens::fill(slot, attributes, paths, column);
    }
}

fn people<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.caller = attributes.text_of(&["user.id", "enduser.id", "gen_ai.user.id"], "caller");
    call.user_email = attributes.text_of(&["user.email"], "user_email");
    call.user_name = attributes.text_of(&["user.name"], "user_name");
    call.user_type = call.caller.map(|_| "user");
    let places = ["client.address", "http.client_ip", "client.socket.address"];
    if let Some(address) = address::read(attributes, &places) {
        call.source_ip = Some(address.text);
        call.source_ip_valid = Some(address.valid);
        call.source_ip_prefix = address.prefix;
    }
    call.user_agent = attributes.text_of(&["user_agent.original", "http.user_agent"], "user_agent");
    call.server_address =
        attributes.text_of(&["server.address", "net.peer.name"], "server_address");
    call.http_status_code = ["http.response.status_code", "http.status_code"]
        .iter()
        .find_map(|path| attributes.int32(path, "http_status_code"));
}

/// Most instrumentations name nobody: then the service is the caller. Only for the record of a call, so that a person
/// whom another record of the same call names is not hidden by it. What an SDK writes for want of a name is none.
pub(super) fn caller_or_service(call: &mut Call<'_>) {
    let service = call.service_name;
    if call.caller.is_none()
        && let Some(service) = service.filter(|name| !name.starts_with("unknown_service"))
    {
        call.caller = Some(service);
        call.user_type = Some("service");
    }
}

/// A verdict in the vocabulary that is under review for guardrails, and Bedrock's guardrail id.
fn guardrail<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let text = |path, column| code_at(attributes, path, column);
    let ids = [
        "aws.bedrock.guardrail.id",
        "gen_ai.guardrail.component.name",
        "gen_ai.security.policy.id",
    ];
    for id in ids.iter().filter_map(|path| text(path, "guardrail_ids")) {
        row.call.guardrail_ids.push(id);
    }
    let verdict = text("gen_ai.guardrail.verdict.type", "guardrail_action")
        .or_else(|| text("gen_ai.guardrail.action.type", "guardrail_action"));
    let action = match verdict.unwrap_or_default() {
        "" => return,
        "deny" | "block" => "blocked",
        "modify" | "redact" | "mask" => "masked",
        "warn" | "escalate" | "flag" => "detected",
        _ => "none",
    };
    row.call.guardrail_action = Some(action);
    if action == "none" {
        return;
    }
    let target = text("gen_ai.guardrail.target.type", "guardrail_findings").unwrap_or_default();
    row.call.guardrail_findings.push(GuardrailFinding {
        direction: Some(if target.contains("output") {
            "output"
        } else {
            "input"
        }),
        policy: Some("custom"),
        category: text("gen_ai.security.risk.category", "guardrail_findings").or_else(|| {
            text(
                "gen_ai.guardrail.security.risk.category",
                "guardrail_findings",
            )
        }),
        action: Some(action),
        confidence: None,
        score: attributes
            .float("gen_ai.security.risk.score", "guardrail_findings")
            .or_else(|| {
                attributes.float("gen_ai.guardrail.security.risk.score", "guardrail_findings")
            }),
    });
}

/// The operation, by the attribute that names it, by a library's kind of span, or by the span's name.
fn operation<'a>(attributes: Value<'a>, name: Option<&'a str>, row: &mut CallRow<'a>) -> Work {
    let call = &mut row.call;
    let named = code_at(attributes, "gen_ai.operation.name", "operation_raw");
    let kind = || {
        let kinds = [
            "llm.request.type",
            "openinference.span.kind",
            "traceloop.span.kind",
        ];
        kinds
            .iter()
            .find_map(|path| code_at(attributes, path, "operation_raw"))
    };
    let raw = named.or_else(kind);
    let known = raw.map(|raw| match raw {
        // OpenLLMetry's word for the legacy API.
        "completion" => "text_completion",
        "LLM" => "chat",
        "agent" | "AGENT" => "invoke_agent",
        "tool" | "TOOL" => "execute_tool",
        "rerank" | "retrieval" | "RETRIEVER" | "RERANKER" | "CHAIN" | "workflow" | "task"
        | "unknown" => "other",
        raw => names::operation(raw),
    });
    // `chat gpt-4o`, `openai.chat`.
    let name = name.filter(|name| is_span_name(name));
    let name = name.and_then(|name| name.split(' ').next());
    call.operation_raw = raw.or(name);
    let by_name = name.map(names::operation).filter(|word| *word != "other");
    let has_model =
        call.model_id_raw.is_some() || call.input_tokens.is_some() || call.output_tokens.is_some();
    call.operation = Some(known.or(by_name).unwrap_or("other"));
    let is_model = match known.or(by_name) {
        Some(operation) => MODEL_OPERATIONS.contains(&operation),
        // A span that names no operation and has a model's figures, as vLLM's `llm_request`.
        None => has_model,
    };
    if is_model { Work::Model } else { Work::Around }
}

/// Whether a span's name is one: `chat gpt-4o`, `execute_tool lookup`, `POST /v1/chat` are two codes at most. Prose has
/// no place in a name.
pub(super) fn is_span_name(name: &str) -> bool {
    name.split(' ').count() <= 2 && name.split(' ').all(|word| code(word).is_some())
}
