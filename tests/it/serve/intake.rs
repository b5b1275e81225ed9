//! Records that are sent: durable when they are acknowledged, taken once, and looked at by rules.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inferwatch::schema::Table;
use inferwatch::store::Rights;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::program::{Running, request, serve, start};
use super::{Fixture, all, ingest};
use crate::runs::{BOUNDS, rule};

fn span(id: u64) -> String {
    format!(
        r#"{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"chat gpt-4o","startTimeUnixNano":"1772445600000000000","endTimeUnixNano":"1772445601000000000","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.request.model","value":{{"stringValue":"gpt-4o"}}}},{{"key":"gen_ai.usage.input_tokens","value":{{"intValue":"7"}}}}]}}"#
    )
}

pub(super) fn traces(ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let spans: Vec<String> = ids.into_iter().map(span).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
    .into_bytes()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn rows(fixture: &Fixture, table: Table) -> i64 {
    fixture.store().snapshot(table).expect("a snapshot").rows()
}

#[test]
fn records_are_durable_when_they_are_acknowledged_and_taken_once() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let running = serve(&fixture.path(), &[]);
    let bearer = format!("Bearer {token}");
    let send = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        running.call("POST", path, &headers, body)
    };
    let json = [("content-type", "application/json")];
    let answer = send("/v1/traces", &json, &traces(1..=3));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    assert_eq!(rows(&fixture, Table::Calls), 3);
    // The same again, packed, and once more as lines: the first is known, the others are other requests.
    let packed = gzip(&traces(1..=3));
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    assert_eq!(send("/v1/traces", &headers, &packed).status, 200);
    assert_eq!(rows(&fixture, Table::Calls), 3);

    // Under a name of the sender's, whatever is in it counts once.
    let key = [("idempotency-key", "batch-7")];
    let line = br#"{"timestamp":"2026-03-02T10:00:00Z","model":"m","caller":"c","input_tokens":1}"#;
    let answer = send("/v1/ingest", &key, line);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["duplicate"], false);
    assert_eq!(answer.json()["rows"]["calls"], 1);
    assert_eq!(send("/v1/ingest", &key, line).json()["duplicate"], true);
    assert_eq!(
        send(
            "/v1/ingest",
            &key,
            b"{\"timestamp\":\"2026-03-02T11:00:00Z\"}"
        )
        .status,
        422
    );
    assert_eq!(rows(&fixture, Table::Calls), 4);

    // Protobuf: a span without a field that a call needs is put aside, and counted in the answer.
    let bytes = |number: u8, value: &[u8]| [&[number << 3 | 2, value.len() as u8], value].concat();
    let bad = bytes(1, &bytes(2, &bytes(2, &bytes(5, b"chat gpt-4o"))));
    let proto = [("content-type", "application/x-protobuf")];
    let answer = send("/v1/traces", &proto, &bad);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    assert_eq!(send("/v1/traces", &proto, b"").body, b"");
    assert_eq!(send("/v1/traces", &proto, b"nonsense").status, 400);
    assert_eq!(
        send("/v1/traces", &[("content-type", "text/plain")], b"x").status,
        415
    );

    // Damage is put aside, not dropped.
    let answer = send(
        "/v1/ingest",
        &[],
        b"{\"timestamp\":\"2026-03-02T10:00:00Z\",\"model\":\"m\",\"caller\":\"d\"}\n{broken\n",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(rows(&fixture, Table::Quarantine) >= 1);
    assert_eq!(send("/v1/ingest", &[], b"no log at all").status, 400);
    assert_eq!(send("/v1/ingest?format=nonsense", &[], b"{}").status, 400);

    // Who may send may not ask.
    assert_eq!(
        running.query(&token, "SELECT count(*) FROM calls").status,
        403
    );
    let reader = fixture.reader();
    assert_eq!(
        running.as_token(&reader, "POST", "/v1/ingest", line).status,
        403
    );
}

#[test]
fn what_is_too_large_is_refused_and_what_was_known_before_a_restart_is_known_after() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let flags = ["--max-body", "64KiB", "--max-unpacked", "128KiB"];
    let running = serve(&fixture.path(), &flags);
    let send =
        |running: &Running, body: &[u8]| running.as_token(&token, "POST", "/v1/ingest", body);
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 64 << 10);
    assert_eq!(send(&running, &bomb).status, 413);
    let large = running.try_call(
        "POST",
        "/v1/ingest",
        &[("authorization", &format!("Bearer {token}"))],
        &vec![b' '; 1 << 20],
    );
    // It may be gone before it has read what it does not want.
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status == 413));
    assert_eq!(send(&running, &traces(1..=2)).status, 200);
    drop(running);
    let running = serve(&fixture.path(), &flags);
    assert_eq!(send(&running, &traces(1..=2)).json()["duplicate"], true);
    assert_eq!(rows(&fixture, Table::Calls), 2);
}

#[test]
fn killed_ten_times_every_acknowledged_row_is_there_once() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let bearer = Arc::new(format!("Bearer {token}"));
    let mut random = StdRng::seed_from_u64(7);
    let mut acknowledged = Vec::new();
    // What was sent and not acknowledged, which is sent again, and the next that was never sent.
    let next = Arc::new(Mutex::new((Vec::<u64>::new(), 0_u64)));
    for _ in 0..10 {
        let mut running = serve(&fixture.path(), &["--commit-every", "5ms", "--quiet"]);
        let (tell, told) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let (address, tell) = (running.http, tell.clone());
            let (bearer, next) = (Arc::clone(&bearer), Arc::clone(&next));
            std::thread::spawn(move || {
                loop {
                    let id = {
                        let mut next = next.lock().expect("no panic");
                        next.0.pop().unwrap_or_else(|| {
                            next.1 += 1;
                            next.1
                        })
                    };
                    let headers = [("authorization", bearer.as_str())];
                    let body = traces([2 * id, 2 * id + 1]);
                    let answer = request(address, "POST", "/v1/ingest", &headers, &body);
                    if answer.is_ok_and(|answer| answer.status == 200) {
                        tell.send(id).expect("somebody counts");
                    } else {
                        next.lock().expect("no panic").0.push(id);
                        return;
                    }
                }
            });
        }
        drop(tell);
        let enough = random.random_range(1..15);
        acknowledged.extend(told.iter().take(enough));
        running.child.kill().expect("killed");
        running.child.wait().expect("it ends");
        // Until the last sender has found out.
        acknowledged.extend(told);
    }
    // The rest is sent once more, and now all of it is there, once.
    let running = serve(&fixture.path(), &[]);
    let (again, _) = next.lock().expect("no panic").clone();
    for id in again {
        let body = traces([2 * id, 2 * id + 1]);
        assert_eq!(
            running.as_token(&token, "POST", "/v1/ingest", &body).status,
            200
        );
        acknowledged.push(id);
    }
    let reader = fixture.reader();
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let expected = 2 * acknowledged.len() as i64;
    assert_eq!(
        running.number(&reader, "SELECT count(*) FROM calls"),
        expected
    );
    assert_eq!(
        running.number(&reader, "SELECT count(DISTINCT span_id) FROM calls"),
        expected
    );
    let report = fixture.store().verify(true).expect("a report");
    assert_eq!(report.problems.len(), 0);
}

#[test]
fn what_is_sent_is_looked_at_by_rules_beside() {
    let fixture = Fixture::empty();
    let token = fixture.token(
        "both",
        Rights {
            ingest: true,
            ..all()
        },
    );
    let sql = format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller HAVING count(*) >= 3"
    );
    let (name, text) = rule("thrice", "", &sql);
    let rules = fixture.folder.path().join(name);
    std::fs::write(&rules, text.as_bytes()).expect("written");
    let flags = ["--tick", "20ms", "--rules", rules.to_str().expect("text")];
    let mut running = start(&fixture.path(), &flags);
    let line = |time: &str, caller: &str| {
        format!(
            "{{\"timestamp\":\"2026-03-02T{time}Z\",\"model\":\"m\",\"caller\":\"{caller}\",\"input_tokens\":1}}\n"
        )
    };
    // The last of them says that the time of the others is over.
    let lines = [
        line("10:00:01", "eve"),
        line("10:00:02", "eve"),
        line("10:00:03", "eve"),
        line("10:00:04", "ada"),
        line("12:00:00", "ada"),
    ];
    let sent = running.as_token(&token, "POST", "/v1/ingest", lines.concat().as_bytes());
    assert_eq!(sent.status, 200, "{}", sent.text());
    let begun = Instant::now();
    let findings = loop {
        let answer = running
            .as_token(&token, "GET", "/api/findings?rule=thrice", b"")
            .json();
        let findings = answer["findings"].as_array().expect("a list").clone();
        if !findings.is_empty() {
            break findings;
        }
        // Long enough for a busy machine; nothing waits for it to pass.
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "{}",
            running.log()
        );
    };
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["entity"], json!({"caller": "eve"}));
    assert_eq!(findings[0]["event_count"], 3);
    let id = findings[0]["finding_id"].as_str().expect("an id");
    let one = running
        .as_token(&token, "GET", &format!("/api/findings/{id}"), b"")
        .json();
    assert_eq!(one["history"][0]["event"], "opened");
    running.terminate();
}
