//! What is answered, in which form, and until when.

use std::net::TcpStream;

use arrow::ipc::reader::StreamReader;
use inferwatch::store::Rights;
use serde_json::{Value, json};

use super::program::serve;
use super::{Fixture, all};

#[test]
fn answers_have_the_form_that_is_asked_for() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &["--max-rows", "4"]);
    let bearer = format!("Bearer {token}");
    let question = json!({
        "sql": "SELECT caller, input_tokens FROM calls WHERE input_tokens >= $least ORDER BY input_tokens",
        "params": {"least": 102},
    });
    let post = |accept: &str, body: &Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", accept),
        ];
        running.call("POST", "/api/query", &headers, body.to_string().as_bytes())
    };
    let json = post("application/json", &question).json();
    assert_eq!(json["columns"][0]["name"], "caller");
    assert_eq!(json["columns"][0]["type"], "string");
    assert_eq!(json["columns"][1]["type"], "integer");
    assert_eq!(
        json["rows"][0],
        json!({"caller": "alice", "input_tokens": 102})
    );
    assert_eq!(
        (&json["row_count"], &json["truncated"]),
        (&json!(3), &json!(false))
    );

    let lines = post("application/x-ndjson", &question).text();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(Value::Array(lines), json["rows"]);

    let arrow = post("application/vnd.apache.arrow.stream", &question);
    let reader = StreamReader::try_new(&arrow.body[..], None).expect("a stream");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 3);

    let all = running.query(&token, "SELECT * FROM calls").json();
    assert_eq!(
        (&all["row_count"], &all["truncated"]),
        (&json!(4), &json!(true))
    );
    let two = post("*/*", &json!({"sql": "SELECT * FROM calls", "max_rows": 2})).json();
    assert_eq!(
        (&two["row_count"], &two["truncated"]),
        (&json!(2), &json!(true))
    );
    let path = "/api/query?sql=SELECT+$a+AS+a&param.a=7";
    assert_eq!(
        running.as_token(&token, "GET", path, b"").json()["rows"][0]["a"],
        7
    );

    let wrong = running.query(&token, "SELECT caller,\n  modle FROM calls");
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.header("content-type"),
        Some("application/problem+json")
    );
    let wrong = wrong.json();
    assert_eq!((&wrong["line"], &wrong["column"]), (&json!(2), &json!(3)));
    assert_eq!(wrong["hint"], "did you mean `model`?");
    let slow = json!({"sql": "SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b", "timeout_ms": 200});
    assert_eq!(post("*/*", &slow).status, 503);
    assert_eq!(
        post("*/*", &json!({"sql": "SELECT 1", "sgl": 1})).status,
        400
    );
}

#[test]
fn findings_rules_status_metrics_and_their_description_answer() {
    let fixture = Fixture::new();
    let token = fixture.token(
        "all",
        Rights {
            metrics: true,
            ..all()
        },
    );
    let narrow = fixture.token(
        "narrow",
        Rights {
            tables: vec!["calls".into()],
            ..Rights::default()
        },
    );
    let running = serve(&fixture.path(), &[]);
    let get = |token: &str, path: &str| running.as_token(token, "GET", path, b"");
    assert_eq!(
        get(&token, "/api/findings?status=open&limit=5").json(),
        json!({"findings": [], "next": null})
    );
    assert_eq!(get(&token, "/api/findings?colour=red").status, 400);
    assert_eq!(get(&token, "/api/findings/0123").status, 404);
    assert_eq!(get(&narrow, "/api/findings").status, 403);
    assert_eq!(get(&narrow, "/metrics").status, 403);
    assert_eq!(get(&narrow, "/api/status").status, 403);
    let rules = get(&token, "/api/rules").json();
    let first = rules["rules"][0]["id"].as_str().expect("an id").to_owned();
    let rule = get(&token, &format!("/api/rules/{first}")).json();
    assert_eq!(rule["rule"], rules["rules"][0]);
    assert!(
        rule["sql"]
            .as_str()
            .is_some_and(|sql| sql.contains("SELECT"))
    );
    assert_eq!(rule["evaluations"], json!([]));
    assert!(
        get(&narrow, &format!("/api/rules/{first}"))
            .json()
            .get("evaluations")
            .is_none()
    );
    let status = get(&token, "/api/status?rule=token-burn").json();
    assert_eq!(status["sources"][0]["source"], "test");
    let metrics = get(&token, "/metrics").text();
    assert!(
        metrics.contains("inferwatch_store_files{table=\"calls\"} "),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
    let described = get(&token, "/openapi.json").json();
    for path in described["paths"].as_object().expect("paths").keys() {
        let path = path.replace("{id}", "x");
        // There is such a path: what is wrong is at most the method or the question.
        let answer = get(&token, &path);
        let missing = answer.text().contains(&format!("`{path}`")) && answer.status == 404;
        assert!(!missing, "{path}");
    }
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_has() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let mut running = serve(&fixture.path(), &[]);
    assert_eq!(running.query(&token, "SELECT 1").status, 200);
    running.terminate();
    assert!(TcpStream::connect(running.http).is_err());
}
