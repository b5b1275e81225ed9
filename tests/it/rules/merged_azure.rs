//! The view `calls_merged` over the logs of Azure OpenAI and of the gateway in front of it.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use inferwatch::schema::Call;

use super::merged::{call, merged, totals};

#[tokio::test]
async fn azure_response_usage_and_gateway_are_one_call() {
    let with = |id, format, role| Call {
        correlation_id: Some("c-1"),
        ..call(10, id, format, role)
    };
    let rows = [
        Call {
            caller: Some("object-1"),
            duration_ms: Some(640.0),
            ..with("response", "azure.openai.request_response", "primary")
        },
        Call {
            input_tokens: Some(120),
            output_tokens: Some(88),
            ..with("usage", "azure.openai.request_usage", "supplement")
        },
        Call {
            http_status_code: Some(200),
            source_ip: Some("198.51.100.7"),
            ..with("gateway", "azure.apim.gateway", "supplement")
        },
        Call {
            input_tokens: Some(120),
            output_tokens: Some(88),
            ..with("gateway-llm", "azure.apim.gateway_llm", "supplement")
        },
        // Without a correlation id nothing says what it belongs to, and usage alone is no call.
        Call {
            input_tokens: Some(5),
            ..call(11, "lost", "azure.openai.request_usage", "supplement")
        },
        Call {
            input_tokens: Some(7),
            ..call(11, "lost-too", "azure.openai.request_usage", "supplement")
        },
    ];
    let got = merged(
        &rows,
        "SELECT event_id, caller, input_tokens, output_tokens, http_status_code FROM calls_merged",
    )
    .await;
    assert_eq!(got.num_rows(), 1);
    assert_eq!(got.column(1).as_string::<i32>().value(0), "object-1");
    assert_eq!(
        got.column(2).as_primitive::<Int64Type>().value(0),
        120,
        "not added up over the logs"
    );
    assert_eq!(got.column(3).as_primitive::<Int64Type>().value(0), 88);
    assert_eq!(got.column(4).as_primitive::<Int32Type>().value(0), 200);
}

#[tokio::test]
async fn a_block_that_one_of_the_logs_saw_is_no_failure() {
    let with = |id, correlation, format, role, outcome| Call {
        correlation_id: Some(correlation),
        outcome,
        ..call(10, id, format, role)
    };
    let (service, gateway) = ("azure.openai.request_response", "azure.apim.gateway");
    let rows = [
        Call {
            caller: Some("object-1"),
            http_status_code: Some(400),
            ..with("filtered", "c-1", service, "primary", "failure")
        },
        Call {
            http_status_code: Some(400),
            error_type: Some("content_filter"),
            guardrail_action: Some("blocked"),
            ..with("filtered-gateway", "c-1", gateway, "primary", "blocked")
        },
        // A second record of the gateway says less; the order of the words does not decide.
        Call {
            guardrail_action: Some("none"),
            ..with(
                "filtered-llm",
                "c-1",
                "azure.apim.gateway_llm",
                "supplement",
                "success",
            )
        },
        Call {
            caller: Some("object-1"),
            ..with("broken", "c-2", service, "primary", "failure")
        },
        Call {
            guardrail_action: Some("masked"),
            ..with("broken-gateway", "c-2", gateway, "primary", "failure")
        },
        Call {
            guardrail_action: Some("none"),
            ..with(
                "broken-llm",
                "c-2",
                "azure.apim.gateway_llm",
                "supplement",
                "unknown",
            )
        },
    ];
    let got = merged(
        &rows,
        "SELECT event_id, outcome, guardrail_action, error_type FROM calls_merged ORDER BY correlation_id",
    )
    .await;
    let text = |column: usize| {
        let column = got.column(column).as_string::<i32>().iter();
        column
            .map(|text| text.unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(text(0), ["filtered", "broken"]);
    assert_eq!(text(1), ["blocked", "failure"]);
    assert_eq!(text(2), ["blocked", "masked"]);
    assert_eq!(text(3), ["content_filter", "-"]);
}

#[tokio::test]
async fn a_call_in_the_logs_of_gateway_and_service_is_counted_once() {
    let at = |minute, id, format, role, correlation| Call {
        correlation_id: Some(correlation),
        request_id: Some(correlation),
        ..call(minute, id, format, role)
    };
    let response = |minute, id, correlation| {
        at(
            minute,
            id,
            "azure.openai.request_response",
            "primary",
            correlation,
        )
    };
    let gateway =
        |minute, id, correlation| at(minute, id, "azure.apim.gateway", "primary", correlation);
    let llm = |minute, id, correlation| {
        at(
            minute,
            id,
            "azure.apim.gateway_llm",
            "supplement",
            correlation,
        )
    };
    let rows = [
        // One call in four records: request, its nearly empty twin, gateway, the gateway's count of tokens.
        Call {
            caller: Some("object-1"),
            input_tokens: Some(120),
            input_tokens_uncached: Some(120),
            output_tokens: Some(88),
            cost_usd: Some(3.0),
            cost_source: Some("list"),
            tokens_source: Some("reported"),
            content_state: Some("absent"),
            ..response(10, "a-full", "a")
        },
        Call {
            model: Some("gpt-4o"),
            ..response(10, "a-thin", "a")
        },
        Call {
            source_ip: Some("198.51.100.7"),
            input_tokens: Some(120),
            output_tokens: Some(88),
            content_state: Some("inline"),
            ..gateway(10, "a-gateway", "a")
        },
        Call {
            input_tokens: Some(120),
            input_tokens_uncached: Some(56),
            cache_read_input_tokens: Some(64),
            output_tokens: Some(88),
            cost_usd: Some(2.0),
            cost_source: Some("list"),
            ..llm(10, "a-llm", "a")
        },
        // In the log of the service alone; in that of the gateway alone; nearly empty in the service's.
        Call {
            caller: Some("object-2"),
            input_tokens: Some(10),
            output_tokens: Some(1),
            ..response(11, "b", "b")
        },
        Call {
            input_tokens: Some(7),
            output_tokens: Some(2),
            ..gateway(12, "c", "c")
        },
        response(13, "d-thin", "d"),
        Call {
            input_tokens: Some(5),
            output_tokens: Some(3),
            ..gateway(13, "d-gateway", "d")
        },
        // The gateway has an id of its own and knows the service's from the answer.
        Call {
            caller: Some("object-3"),
            input_tokens: Some(40),
            output_tokens: Some(4),
            ..response(14, "e", "e-service")
        },
        Call {
            request_id: Some("e-service"),
            input_tokens: Some(40),
            output_tokens: Some(4),
            user_agent: Some("curl/8"),
            ..gateway(14, "e-gateway", "e-own")
        },
        Call {
            model_deployment: Some("prod"),
            ..llm(14, "e-llm", "e-own")
        },
        // Without an id nothing joins anything.
        Call {
            correlation_id: None,
            request_id: None,
            input_tokens: Some(1000),
            ..gateway(15, "f", "f")
        },
        Call {
            correlation_id: None,
            request_id: None,
            input_tokens: Some(2000),
            ..gateway(15, "g", "g")
        },
    ];
    // 120 + 10 + 7 + 5 + 40 + 1000 + 2000 and 88 + 1 + 2 + 3 + 4, in seven calls.
    assert_eq!(totals(&rows).await, (7, 3182, 98));
    let got = merged(
        &rows,
        "SELECT event_id, source_ip, cache_read_input_tokens, input_tokens_uncached, cost_usd, content_state, match, \
         array_to_string(array_sort(supplement_ids), ' '), user_agent, model_deployment \
         FROM calls_merged ORDER BY event_id",
    )
    .await;
    let text = |row: usize, column: usize| {
        let column = got.column(column).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let ids: Vec<_> = (0..7).filter_map(|row| text(row, 0)).collect();
    assert_eq!(ids, ["a-full", "b", "c", "d-thin", "e", "f", "g"]);
    assert_eq!(text(0, 1).as_deref(), Some("198.51.100.7"));
    assert_eq!(got.column(2).as_primitive::<Int64Type>().value(0), 64);
    assert_eq!(
        got.column(3).as_primitive::<Int64Type>().value(0),
        56,
        "the share of the cache is not counted twice"
    );
    let cost = got.column(4).as_primitive::<Float64Type>().value(0);
    assert!(
        (cost - 2.0).abs() < f64::EPSILON,
        "the price that knows of the cache"
    );
    assert_eq!(text(0, 5).as_deref(), Some("inline"));
    assert_eq!(text(0, 6).as_deref(), Some("exact"));
    assert_eq!(text(0, 7).as_deref(), Some("a-gateway a-llm a-thin"));
    assert_eq!(text(1, 6), None);
    assert_eq!(text(4, 8).as_deref(), Some("curl/8"));
    assert_eq!(text(4, 9).as_deref(), Some("prod"));
}
