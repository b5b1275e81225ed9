//! Formats, as a person meets them: prices, mappings, logs of several kinds of one call.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use super::query;
use crate::command::{bare, program, run};

/// Fixture of a format.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/formats")
        .join(name);
    fs::read_to_string(path).unwrap()
}

/// A call of Azure OpenAI with 1,000 tokens in and 100 out, of which the log reports no cost.
fn azure_line(id: &str, deployment: &str, model: &str) -> String {
    format!(
        r#"{{"time":"2026-03-02T09:40:00.1234567Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A","category":"RequestResponse","operationName":"ChatCompletions_Create","resultSignature":"200","correlationId":"{id}","properties":{{"callerObjectId":"o","modelDeploymentName":"{deployment}"{model},"promptTokens":1000,"completionTokens":100}}}}
"#
    )
}

#[test]
fn a_call_without_a_reported_cost_is_priced_from_the_list() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let logs = [
        azure_line("listed", "prod", r#","modelName":"gpt-4o""#),
        azure_line("unlisted", "prod", r#","modelName":"gpt-77""#),
        azure_line("deployed", "gpt-4o", ""),
        r#"{"id":"x","litellm_call_id":"reported","call_type":"acompletion","status":"success","custom_llm_provider":"openai","model":"gpt-4o","startTime":1772445600.25,"endTime":1772445600.75,"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"response_cost":0.5,"metadata":{}}
"#.to_owned(),
    ];
    fs::write(folder.join("calls.jsonl"), logs.concat()).unwrap();
    fs::write(
        folder.join("prices.toml"),
        "[[price]]\nproviders = ['azure.ai.openai']\nmodels = ['gpt-*']\nvalid_from = 2026-01-01\ninput = 1\noutput = 10\nsource = 'contract'\n",
    )
    .unwrap();
    let ask =
        "SELECT request_id, round(cost_usd, 9) AS cost, cost_source FROM calls ORDER BY request_id";
    assert_eq!(run(folder, &["ingest", "calls.jsonl"]).0, 0);
    // 1000 x 2.50 + 100 x 10 millionths.
    assert_eq!(
        query(folder, ask),
        "request_id,cost,cost_source\ndeployed,,\nlisted,0.0035,list\nreported,0.5,reported\nunlisted,,\n"
    );
    fs::remove_dir_all(folder.join("store")).unwrap();
    let (code, _, told) = run(
        folder,
        &["ingest", "--prices", "prices.toml", "calls.jsonl"],
    );
    assert_eq!(code, 0, "{told}");
    // 1000 x 1 + 100 x 10 millionths, whatever the model.
    assert_eq!(
        query(folder, ask),
        "request_id,cost,cost_source\ndeployed,,\nlisted,0.002,list\nreported,0.5,reported\nunlisted,0.002,list\n"
    );
    fs::write(folder.join("wrong.toml"), "[[price]]\nmodel = 'x'\n").unwrap();
    let (code, _, told) = run(folder, &["ingest", "--prices", "wrong.toml", "calls.jsonl"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("wrong.toml:2: unknown field `model`"),
        "{told}"
    );
}

#[test]
fn a_mapping_reads_a_log_of_ones_own_and_explains_itself() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("own.jsonl"), fixture("generic/mapped.jsonl")).unwrap();
    fs::write(folder.join("mapping.toml"), fixture("generic/mapping.toml")).unwrap();
    let (code, out, told) = run(
        folder,
        &[
            "ingest",
            "--mapping",
            "mapping.toml",
            "--explain",
            "own.jsonl",
        ],
    );
    assert_eq!(code, 0, "{told}");
    let line = out
        .lines()
        .find(|line| line.contains("auth/principal"))
        .unwrap();
    assert!(line.ends_with("caller  (by `mapping.toml`)"), "{line}");
    // From the config file as well, whose paths count from its folder.
    fs::write(
        folder.join("inferwatch.toml"),
        "[ingest]\nmapping = 'mapping.toml'\n",
    )
    .unwrap();
    let mut configured = bare(folder);
    configured.args(["--store", "store", "ingest", "own.jsonl"]);
    assert!(configured.output().unwrap().status.success());
    // 56 x 0.15 + 64 x 0.075 + 30 x 0.60 = 31.2 millionths of a dollar, and 5 x 0.15.
    assert_eq!(
        query(
            folder,
            "SELECT request_id, caller, model, duration_ms, outcome, provider, round(cost_usd * 1e9) AS nanodollars, input_text_length AS length FROM calls ORDER BY request_id"
        ),
        "request_id,caller,model,duration_ms,outcome,provider,nanodollars,length\na-1,dana,gpt-4o-mini,1250.0,success,openai,31200.0,43\n,k-7,gpt-4o-mini,300.0,blocked,openai,750.0,\n"
    );
    fs::write(folder.join("wrong.toml"), "calller = 'a'\n").unwrap();
    let (code, _, told) = run(folder, &["ingest", "--mapping", "wrong.toml", "own.jsonl"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("wrong.toml:1: no column is called `calller`")
            && told.contains("did you mean `caller`?"),
        "{told}"
    );
}

#[test]
fn an_access_log_gives_the_calls_of_models_and_counts_the_rest() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("access.log"), fixture("access_log/lines.txt")).unwrap();
    let (code, _, told) = run(folder, &["ingest", "access.log"]);
    assert_eq!(code, 0, "{told}");
    for (count, what) in [
        (8, "calls"),
        (2, "quarantine"),
        (5, "request that called no model"),
        (4, "server message"),
        (1, "no time that can be read"),
    ] {
        let found = told.lines().any(|line| {
            let mut words = line
                .trim()
                .trim_start_matches(char::is_alphabetic)
                .trim_start()
                .splitn(2, "  ");
            words.next() == Some(&count.to_string()) && words.next() == Some(what)
        });
        assert!(found, "{count} {what} in\n{told}");
    }
    assert_eq!(
        query(
            folder,
            "SELECT operation, count(*) AS n, count(DISTINCT event_id) AS ids, count(duration_ms) AS timed FROM calls GROUP BY operation ORDER BY operation"
        ),
        "operation,n,ids,timed\nchat,4,4,2\nembeddings,2,2,0\ntext_completion,2,2,1\n"
    );
    let rows = query(folder, "SELECT * FROM calls") + &query(folder, "SELECT * FROM quarantine");
    assert!(!rows.contains("a-secret"), "{rows}");
}

#[test]
fn the_same_observations_as_lines_csv_and_parquet_are_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let lines = r#"{"id":"o1","trace_id":"t","type":"GENERATION","start_time":"2026-03-02 10:15:30.250000","end_time":"2026-03-02 10:15:31.500000","provided_model_name":"gpt-4o","usage_details":"{\"input\":10,\"output\":5,\"total\":15}","input":"what, is \"open\" today","output":"all is\nopen"}
{"id":"o2","trace_id":"t","type":"SPAN","start_time":"2026-03-02 10:15:30.250000","end_time":"2026-03-02 10:15:31.500000","provided_model_name":"","usage_details":"{}","input":"","output":""}
"#;
    fs::write(folder.join("o.jsonl"), lines).unwrap();
    // Our own reader of JSON and writers of CSV and Parquet make the other two.
    for name in ["o.csv", "o.parquet"] {
        let (code, _, told) = run(
            folder,
            &["sql", "SELECT * FROM 'o.jsonl'", "--output", name],
        );
        assert_eq!(code, 0, "{told}");
    }
    let ask = "SELECT event_id, record_role, model, input_tokens, output_tokens, duration_ms, input_text_length, output_text_length FROM calls ORDER BY event_id";
    let expected = "event_id,record_role,model,input_tokens,output_tokens,duration_ms,input_text_length,output_text_length\no1,primary,gpt-4o,10,5,1250.0,21,11\no2,supplement,,,,1250.0,,\n";
    for name in ["o.jsonl", "o.csv", "o.parquet"] {
        let (code, _, told) = run(folder, &["ingest", "--content", "raw", name]);
        assert_eq!(code, 0, "{told}");
        assert_eq!(query(folder, ask), expected, "{name}");
        let (_, _, told) = run(folder, &["ingest", name]);
        assert!(
            told.contains("files whose content the store has already"),
            "{told}"
        );
        let (code, out, told) = run(folder, &["ingest", "--explain", name]);
        assert_eq!(code, 0, "{told}");
        assert!(out.contains("record 1: langfuse"), "{out}");
        fs::remove_dir_all(folder.join("store")).unwrap();
    }
    // From a pipe, where nothing can be read twice, and damaged.
    let bytes = fs::read(folder.join("o.parquet")).unwrap();
    let mut child = program(folder, &["ingest", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(query(folder, ask), expected);
    fs::write(folder.join("cut.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.parquet"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("`cut.parquet`: "), "{told}");
}

#[test]
fn a_call_of_gateway_and_service_is_one_call() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let service = azure_line("c-1", "prod", r#","modelName":"gpt-4o""#)
        + &azure_line("c-2", "prod", r#","modelName":"gpt-4o""#);
    // The same calls as the gateway tells of them, the second under an id of its own.
    let gateway = |own: &str, service: &str| {
        format!(
            r#"{{"time":"2026-03-02T09:40:01.0000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/G","category":"GatewayLogs","operationName":"Microsoft.ApiManagement/GatewayLogs","correlationId":"{own}","callerIpAddress":"198.51.100.7","isRequestSuccess":true,"properties":{{"method":"POST","url":"https://g.example.com/openai/deployments/prod/chat/completions?api-version=1","responseCode":200,"responseHeaders":{{"apim-request-id":"{service}"}},"responseBody":"{{\"model\":\"gpt-4o-2024-11-20\",\"usage\":{{\"prompt_tokens\":1000,\"completion_tokens\":100,\"total_tokens\":1100,\"prompt_tokens_details\":{{\"cached_tokens\":400}}}}}}"}}}}
"#
        )
    };
    let gateways = gateway("c-1", "c-1") + &gateway("own", "c-2") + &gateway("c-3", "c-3");
    fs::write(folder.join("service.json"), service).unwrap();
    fs::write(folder.join("gateway.json"), gateways).unwrap();
    assert_eq!(
        run(folder, &["ingest", "gateway.json", "service.json"]).0,
        0
    );
    let count = "SELECT count(*) AS n, sum(input_tokens) AS tokens, sum(cache_read_input_tokens) AS cached, sum(input_tokens_uncached) AS uncached, round(sum(cost_usd), 9) AS cost FROM";
    assert_eq!(
        query(
            folder,
            &format!("{count} calls WHERE record_role = 'primary'")
        ),
        // Twice 1000 x 2.50 + 100 x 10 = 3500, thrice 600 x 2.50 + 400 x 1.25 + 1000 = 3000 millionths.
        "n,tokens,cached,uncached,cost\n5,5000,1200,3800,0.016\n"
    );
    assert_eq!(
        query(folder, &format!("{count} calls_merged")),
        // Three calls, at the price that knows of the cache.
        "n,tokens,cached,uncached,cost\n3,3000,1200,1800,0.009\n"
    );
    assert_eq!(
        query(
            folder,
            "SELECT correlation_id, source_format, source_ip, match FROM calls_merged ORDER BY correlation_id"
        ),
        "correlation_id,source_format,source_ip,match\nc-1,azure.openai.request_response,198.51.100.7,exact\nc-2,azure.openai.request_response,198.51.100.7,exact\nc-3,azure.apim.gateway,198.51.100.7,\n"
    );
}

#[test]
fn a_filter_that_only_the_gateway_saw_blocked_the_call() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let lines = [
        r#"{"time":"2026-03-02T09:40:00.0000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A","category":"RequestResponse","operationName":"ChatCompletions_Create","resultSignature":"400","correlationId":"c-1","properties":{"callerObjectId":"object-1","modelDeploymentName":"prod","modelName":"gpt-4o"}}"#,
        r#"{"time":"2026-03-02T09:40:00.5000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/G","category":"GatewayLogs","operationName":"Microsoft.ApiManagement/GatewayLogs","correlationId":"c-1","isRequestSuccess":false,"properties":{"method":"POST","url":"https://g.example.com/openai/deployments/prod/chat/completions?api-version=1","responseCode":400,"responseBody":"{\"error\":{\"code\":\"content_filter\",\"message\":\"filtered\"}}"}}"#,
    ];
    fs::write(folder.join("azure.json"), lines.join("\n")).unwrap();
    assert_eq!(run(folder, &["ingest", "azure.json"]).0, 0);
    assert_eq!(
        query(
            folder,
            "SELECT caller, outcome, guardrail_action, http_status_code, count(*) AS n FROM calls_merged GROUP BY ALL"
        ),
        "caller,outcome,guardrail_action,http_status_code,n\nobject-1,blocked,blocked,400,1\n"
    );
}

/// A field of Protobuf: bytes behind their length, which is below 16,384 here.
fn length_delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut field = vec![number << 3 | 2, length as u8 & 0x7f];
    if length > 127 {
        field[1] |= 0x80;
        field.push((length >> 7) as u8);
    }
    field.extend_from_slice(content);
    field
}

#[test]
fn frames_with_a_length_are_read_as_json_or_protobuf_packed_or_not() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let text = |key: &str, value: &str| {
        let value = length_delimited(2, &length_delimited(1, value.as_bytes()));
        length_delimited(9, &[length_delimited(1, key.as_bytes()), value].concat())
    };
    let fixed = |number: u8, value: u64| [&[number << 3 | 1][..], &value.to_le_bytes()].concat();
    let span = [
        length_delimited(1, &[0x0a; 16]),
        length_delimited(2, &[0xb7; 8]),
        length_delimited(5, b"chat gpt-4o"),
        fixed(7, 1_772_445_600_000_000_000),
        fixed(8, 1_772_445_601_250_000_000),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4o"),
    ]
    .concat();
    let protobuf = length_delimited(1, &length_delimited(2, &length_delimited(2, &span)));
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01","spanId":"02","name":"chat","startTimeUnixNano":"1772445600000000000","endTimeUnixNano":"1772445600500000000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}]}]}]}"#;
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let frames = [
        json.to_vec(),
        packed(json),
        protobuf.clone(),
        packed(&protobuf),
        b"\x0anonsense".to_vec(),
    ];
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| [&(frame.len() as u32).to_be_bytes()[..], frame].concat())
        .collect();
    fs::write(folder.join("traces.bin"), bytes).unwrap();
    let (code, _, told) = run(folder, &["ingest", "traces.bin"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(
        query(
            folder,
            "SELECT span_id, operation, model, duration_ms, count(*) AS n FROM calls GROUP BY ALL ORDER BY span_id"
        ),
        "span_id,operation,model,duration_ms,n\n02,chat,gpt-4o,500.0,2\nb7b7b7b7b7b7b7b7,chat,gpt-4o,1250.0,2\n"
    );
    assert_eq!(
        query(
            folder,
            "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason"
        ),
        "reason,n\nneither JSON nor OTLP in Protobuf,1\n"
    );
}
