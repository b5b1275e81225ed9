//! One call as each platform logs it. The shapes are the providers' own; the values are made up.

use serde_json::{Value, json};

use super::traffic::{CLASSES, Call, Outcome};
use crate::ingest::time;
use crate::schema::Micros;

pub(super) const ACCOUNT: &str = "210987654321";
pub(super) const REGION: &str = "eu-central-1";
const RESOURCE: &str = "/SUBSCRIPTIONS/AAAAAAAA-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AOAI-PROD";

/// The call's id in the form of a UUID.
pub(super) fn uuid(id: u128) -> String {
    let hex = format!("{id:032x}");
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

/// The time as RFC 3339, cut to so many characters: 19 for whole seconds, 23 for milliseconds.
pub(super) fn stamp(micros: i64, length: usize) -> String {
    format!("{}Z", &time::format(Micros(micros))[..length])
}

pub(super) fn bedrock(call: &Call) -> Value {
    let mut record = json!({
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": stamp(call.time, 19),
        "accountId": ACCOUNT,
        "identity": {"arn": call.caller},
        "region": REGION,
        "requestId": uuid(call.id),
        "operation": "Converse",
        "modelId": call.model,
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": {
                "messages": [{"role": "user", "content": [{"text": call.prompt}]}],
                "inferenceConfig": {"maxTokens": 4096, "temperature": 0.2},
                "guardrailConfig": {"guardrailIdentifier": "gr1", "guardrailVersion": "3"},
            },
            "inputTokenCount": call.input_tokens,
        },
    });
    match call.outcome {
        Outcome::Throttled => record["errorCode"] = json!("ThrottlingException"),
        Outcome::Failed => record["errorCode"] = json!("ModelErrorException"),
        Outcome::Success | Outcome::Blocked => {
            let blocked = call.outcome == Outcome::Blocked;
            let text = if blocked {
                "Sorry, I cannot help with that."
            } else {
                &call.answer
            };
            let tokens = if blocked { 0 } else { call.output_tokens };
            let mut body = json!({
                "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
                "stopReason": if blocked { "guardrail_intervened" } else { "end_turn" },
                "metrics": {"latencyMs": call.duration_ms.round() as i64},
                "usage": {
                    "inputTokens": call.input_tokens,
                    "outputTokens": tokens,
                    "totalTokens": call.input_tokens + tokens,
                },
            });
            if blocked {
                record["input"]["inputTokenCount"] = json!(0);
                body["usage"]["inputTokens"] = json!(0);
                body["trace"] = json!({"guardrail": {"inputAssessment": {"gr1": {"contentPolicy": {"filters": [
                    {"type": "PROMPT_ATTACK", "confidence": "HIGH", "filterStrength": "HIGH", "action": "BLOCKED", "detected": true},
                ]}}}}});
            }
            record["output"] = json!({"outputContentType": "application/json", "outputBodyJson": body, "outputTokenCount": tokens});
        }
    }
    record
}

/// The request log of the model's resource: no text, no whole address.
pub(super) fn azure_request(call: &Call) -> Value {
    let end = call.time + (call.duration_ms * 1000.0) as i64;
    let ticks = |micros: i64| micros * 10 + 621_355_968_000_000_000;
    json!({
        "time": stamp(end + 2_000_000, 26),
        "resourceId": RESOURCE,
        "category": "RequestResponse",
        "operationName": "ChatCompletions_Create",
        "resultSignature": status(call.outcome).to_string(),
        "durationMs": call.duration_ms.round() as i64,
        "callerIpAddress": masked(&call.source_ip),
        "correlationId": uuid(call.id),
        "event": "ShoeboxCallResult",
        "location": "westeurope",
        "properties": json!({
            "apiName": "Azure OpenAI API version 2025-01-01-preview",
            "requestTime": ticks(call.time),
            "responseTime": ticks(end),
            "requestLength": call.prompt.len(),
            "responseLength": call.answer.len(),
            "objectId": "",
            "callerObjectId": call.caller,
            "streamType": "Non-Streaming",
            "modelDeploymentName": call.deployment,
            "modelName": call.model,
            "modelVersion": "2024-11-20",
            "promptTokens": call.input_tokens,
            "completionTokens": if call.outcome == Outcome::Success { call.output_tokens } else { 0 },
        }).to_string(),
    })
}

/// The gateway's log in front of it: text and the whole address.
pub(super) fn azure_gateway(call: &Call) -> Value {
    let request =
        json!({"messages": [{"role": "user", "content": call.prompt}], "max_tokens": 4096});
    let response = match call.outcome {
        Outcome::Success => json!({
            "id": format!("chatcmpl-{:x}", call.id), "object": "chat.completion", "model": call.model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": call.answer}}],
            "usage": {"prompt_tokens": call.input_tokens, "completion_tokens": call.output_tokens,
                      "total_tokens": call.input_tokens + call.output_tokens},
        }),
        Outcome::Blocked => json!({"error": {"code": "content_filter", "status": 400,
            "message": "The response was filtered.",
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result":
                {"jailbreak": {"filtered": true, "detected": true}}}}}),
        Outcome::Throttled => {
            json!({"error": {"code": "429", "message": "Rate limit is exceeded."}})
        }
        Outcome::Failed => json!({"error": {"code": "500", "message": "The server had an error."}}),
    };
    let code = status(call.outcome);
    json!({
        "time": stamp(call.time, 26),
        "resourceId": "/SUBSCRIPTIONS/AAAAAAAA-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/APIM-AI",
        "category": "GatewayLogs",
        "operationName": "Microsoft.ApiManagement/GatewayLogs",
        "callerIpAddress": call.source_ip,
        "durationMs": call.duration_ms.round() as i64,
        "correlationId": uuid(call.id),
        "isRequestSuccess": code == 200,
        "location": "West Europe",
        "properties": {
            "method": "POST",
            "url": format!("https://apim-ai.azure-api.net/openai/deployments/{}/chat/completions?api-version=2025-01-01-preview", call.deployment),
            "responseCode": code, "backendResponseCode": code,
            "apiId": "azure-openai", "operationId": "ChatCompletions_Create",
            "requestBody": request.to_string(), "responseBody": response.to_string(),
            "requestSize": request.to_string().len(), "responseSize": response.to_string().len(),
        },
    })
}

pub(super) fn vertex_audit(call: &Call) -> Value {
    let resource = vertex_model(call);
    let denied = call.outcome == Outcome::Blocked;
    let status = match call.outcome {
        Outcome::Success => json!({}),
        Outcome::Blocked => {
            json!({"code": 7, "message": "Permission 'aiplatform.endpoints.predict' denied"})
        }
        Outcome::Throttled => json!({"code": 8, "message": "Quota exceeded"}),
        Outcome::Failed => json!({"code": 13, "message": "Internal error"}),
    };
    let method = "google.cloud.aiplatform.v1.PredictionService.GenerateContent";
    json!({
        "insertId": format!("{:x}", call.id),
        "logName": "projects/demo-ai/logs/cloudaudit.googleapis.com%2Fdata_access",
        "timestamp": format!("{}000Z", &time::format(Micros(call.time))[..26]),
        "receiveTimestamp": format!("{}000Z", &time::format(Micros(call.time + 1_500_000))[..26]),
        "severity": if call.outcome == Outcome::Success { "INFO" } else { "ERROR" },
        "resource": {"type": "audited_resource", "labels": {"project_id": "demo-ai", "service": "aiplatform.googleapis.com", "method": method}},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "status": status,
            "authenticationInfo": {"principalEmail": call.caller},
            "requestMetadata": {"callerIp": call.source_ip, "callerSuppliedUserAgent": "google-genai-sdk/1.20 gl-python/3.12"},
            "serviceName": "aiplatform.googleapis.com",
            "methodName": method,
            "authorizationInfo": [{"resource": resource, "permission": "aiplatform.endpoints.predict", "granted": !denied, "permissionType": "DATA_READ"}],
            "resourceName": resource,
        },
    })
}

pub(super) fn vertex_request(call: &Call) -> Value {
    let answered = call.time + (call.duration_ms * 1000.0) as i64;
    let written = time::format(Micros(answered));
    json!({
        "endpoint": vertex_model(call),
        "deployed_model_id": "",
        "logging_time": format!("{} {} UTC", &written[..10], &written[11..26]),
        "request_id": (call.id as u64 >> 1).to_string(),
        "request_payload": [], "response_payload": [],
        "model": format!("publishers/google/models/{}", call.model),
        "model_version": "default",
        "api_method": "GenerateContent",
        "full_request": json!({"contents": [{"role": "user", "parts": [{"text": call.prompt}]}], "generationConfig": {"temperature": 0.2}}).to_string(),
        "full_response": {
            "candidates": [{"content": {"role": "model", "parts": [{"text": call.answer}]}, "finishReason": "STOP"}],
            "modelVersion": call.model,
            "usageMetadata": {"promptTokenCount": call.input_tokens, "candidatesTokenCount": call.output_tokens,
                              "totalTokenCount": call.input_tokens + call.output_tokens},
        },
        "metadata": {"request_latency": (call.duration_ms * 1000.0).round() / 1000.0},
    })
}

fn vertex_model(call: &Call) -> String {
    format!(
        "projects/demo-ai/locations/europe-west4/publishers/google/models/{}",
        call.model
    )
}

/// One span; a file line holds several.
pub(super) fn otel_span(call: &Call) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let number =
        |key: &str, value: i64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text(
            "gen_ai.provider.name",
            if call.model.starts_with("gemini") {
                "gcp.vertex_ai"
            } else {
                "openai"
            },
        ),
        text("gen_ai.request.model", &call.model),
        text("gen_ai.response.model", &call.model),
        text("gen_ai.response.id", &format!("resp-{:x}", call.id)),
        number("gen_ai.usage.input_tokens", call.input_tokens),
        text("enduser.id", &call.caller),
        text("client.address", &call.source_ip),
        text(
            "server.address",
            &format!("{}.models.example.net", call.deployment),
        ),
        text(
            "gen_ai.input.messages",
            &json!([{"role": "user", "parts": [{"type": "text", "content": call.prompt}]}])
                .to_string(),
        ),
    ];
    let mut status = json!({"code": 1});
    match call.outcome {
        Outcome::Success => {
            attributes.push(number("gen_ai.usage.output_tokens", call.output_tokens));
            attributes.push(json!({"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": [{"stringValue": "stop"}]}}}));
            attributes.push(text("gen_ai.output.messages", &json!([{"role": "assistant", "parts": [{"type": "text", "content": call.answer}], "finish_reason": "stop"}]).to_string()));
        }
        Outcome::Blocked => attributes.push(json!({"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": [{"stringValue": "content_filter"}]}}})),
        Outcome::Throttled | Outcome::Failed => {
            attributes.push(text("error.type", if call.outcome == Outcome::Throttled { "429" } else { "500" }));
            status = json!({"code": 2});
        }
    }
    json!({
        "traceId": format!("{:032x}", call.id),
        "spanId": format!("{:016x}", call.id as u64 ^ (call.id >> 64) as u64),
        "parentSpanId": "",
        "name": format!("chat {}", call.model),
        "kind": 3,
        "startTimeUnixNano": format!("{}000", call.time),
        "endTimeUnixNano": format!("{}000", call.time + (call.duration_ms * 1000.0) as i64),
        "attributes": attributes,
        "status": status,
    })
}

pub(super) fn otel_export(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "claims-bot"}}]},
        "scopeSpans": [{"scope": {"name": "opentelemetry.instrumentation.openai", "version": "2.1"}, "spans": spans}],
    }]})
}

pub(super) fn litellm(call: &Call) -> Value {
    let success = call.outcome == Outcome::Success;
    let start = call.time as f64 / 1e6;
    let end = start + call.duration_ms / 1e3;
    let cost = call.input_tokens as f64 * 2.5e-6 + call.output_tokens as f64 * 1e-5;
    json!({
        "id": format!("chatcmpl-{:x}", call.id),
        "trace_id": uuid(call.id), "litellm_call_id": uuid(call.id), "call_type": "acompletion", "stream": false,
        "status": if success { "success" } else { "failure" },
        "status_fields": {"llm_api_status": if success { "success" } else { "failure" },
                          "guardrail_status": if call.outcome == Outcome::Blocked { "guardrail_intervened" } else { "success" }},
        "custom_llm_provider": "openai", "model": call.model, "model_group": call.model, "model_id": call.deployment,
        "api_base": "https://api.openai.com/v1/",
        "startTime": start, "endTime": end, "completionStartTime": end, "response_time": call.duration_ms / 1e3,
        "prompt_tokens": if success { call.input_tokens } else { 0 },
        "completion_tokens": if success { call.output_tokens } else { 0 },
        "total_tokens": if success { call.input_tokens + call.output_tokens } else { 0 },
        "response_cost": if success { cost } else { 0.0 }, "cache_hit": null,
        "request_tags": ["env:prod"], "end_user": "", "requester_ip_address": call.source_ip, "user_agent": "openai-python/1.60",
        "messages": [{"role": "user", "content": call.prompt}],
        "response": if success {
            json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": call.answer}}]})
        } else { Value::Null },
        "error_information": match call.outcome {
            Outcome::Success => json!({"error_code": "", "error_class": ""}),
            Outcome::Blocked => json!({"error_code": "400", "error_class": "BadRequestError"}),
            Outcome::Throttled => json!({"error_code": "429", "error_class": "RateLimitError"}),
            Outcome::Failed => json!({"error_code": "500", "error_class": "InternalServerError"}),
        },
        "metadata": {
            "user_api_key_hash": format!("{:08x}", fingerprint(&call.caller)),
            "user_api_key_alias": format!("{}-key", call.caller), "user_api_key_user_id": call.caller,
            "user_api_key_team_id": "team-7", "user_api_key_team_alias": "claims", "requester_ip_address": call.source_ip,
        },
        "model_parameters": {"temperature": 0},
    })
}

pub(super) fn generic(call: &Call) -> Value {
    let (class, confidence) = call.prediction.unwrap_or((CLASSES[0].0, 0.9));
    let rest = (1.0 - confidence).max(1e-9);
    let entropy =
        -(confidence * confidence.log2() + rest * (rest / (CLASSES.len() - 1) as f64).log2());
    json!({
        "timestamp": stamp(call.time, 23),
        "request_id": uuid(call.id),
        "user_id": call.caller,
        "source_ip": call.source_ip,
        "model_name": call.model,
        "deployment": call.deployment,
        "text": call.prompt,
        "input_stats": {"text_length": call.prompt.chars().count(), "oov_rate": 0.02 + (call.id % 7) as f64 / 100.0},
        "prediction": {"class": class, "confidence": confidence, "entropy": entropy},
        "status_code": status(call.outcome),
        "latency_ms": (call.duration_ms * 0.05 * 1000.0).round() / 1000.0,
    })
}

fn status(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Success => 200,
        Outcome::Blocked => 400,
        Outcome::Throttled => 429,
        Outcome::Failed => 500,
    }
}

fn masked(ip: &str) -> String {
    format!(
        "{}.***",
        ip.rsplit_once('.').map_or(ip, |(prefix, _)| prefix)
    )
}

fn fingerprint(text: &str) -> u32 {
    // FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
