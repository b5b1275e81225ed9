//! A canary that regresses: traffic that heeds the weights of a gateway comes in by the minute, the rule that ships looks at
//! it beside, and the program of a sink takes the weight away.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{Running, start_with};
use super::{Fixture, NOON, all};
use inferwatch::store::Rights;

/// From this minute on the canary is slow; with the fifth slow minute in a row it is to be found.
const REGRESSION: i64 = 6;
const FOUND: i64 = REGRESSION + 5;
const MINUTES: i64 = 16;
const REQUESTS: i64 = 240;

fn instant(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOON + seconds * 1_000_000);
    time.expect("in range").format("%FT%TZ").to_string()
}

/// Percent of the traffic that goes to the canary.
fn weight(weights: &Path) -> i64 {
    let text = fs::read_to_string(weights).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix("m-canary "));
    line.and_then(|weight| weight.parse().ok())
        .expect("a weight")
}

/// The requests of a minute, of which so many in a hundred go to the canary.
fn traffic(minute: i64, weight: i64) -> String {
    (0..REQUESTS)
        .map(|number| {
            let is_canary = number % 100 < weight;
            let (deployment, latency) = match is_canary {
                true if minute >= REGRESSION => ("m-canary", 900),
                true => ("m-canary", 210),
                false => ("m-stable", 200),
            };
            let time = instant(minute * 60 + number * 60 / REQUESTS);
            format!(
                "{{\"timestamp\":\"{time}\",\"event_id\":\"{minute}-{number}\",\"model\":\"m\",\"model_deployment\":\"{deployment}\",\
                 \"caller\":\"shop\",\"latency_ms\":{latency},\"status\":200}}\n"
            )
        })
        .collect()
}

/// Waits until something is there: long enough for a busy machine, and nothing waits for that time to pass.
fn until<T>(running: &Running, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "{}",
            running.log()
        );
    }
}

#[test]
fn a_canary_that_regresses_loses_its_traffic() {
    let fixture = Fixture::empty();
    let folder = fixture.folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let weights = folder.join("weights.txt");
    fs::write(&weights, "m-stable 90\nm-canary 10\n").expect("written");
    let settings = folder.join("inferwatch.toml");
    let sinks = format!(
        "[sinks.rollback]\nkind = \"command\"\ncommand = [\"sh\", \"{}\"]\nfolder = \"{}\"\nfrom = 2000-01-01T00:00:00Z\n\
         [[routes]]\nsinks = [\"rollback\"]\nrules = [\"canary-regression\"]\n",
        root.join("deploy/canary-rollback.sh").display(),
        folder.display()
    );
    fs::write(&settings, sinks).expect("written");
    let token = fixture.token(
        "both",
        Rights {
            ingest: true,
            ..all()
        },
    );
    let rule = root.join("queries/rules/reliability/canary-regression.sql");
    let mut running = start_with(
        &["--config", settings.to_str().expect("text")],
        &fixture.path(),
        &[
            "--tick",
            "20ms",
            "--lateness",
            "0s",
            "--rules",
            rule.to_str().expect("text"),
        ],
    );

    let mut sent_to_canary = Vec::new();
    for minute in 0..MINUTES {
        let share = weight(&weights);
        sent_to_canary.push(share > 0);
        let lines = traffic(minute, share);
        let sent = running.as_token(&token, "POST", "/v1/ingest", lines.as_bytes());
        assert_eq!(sent.status, 200, "{}", sent.text());
        if minute == 0 {
            continue;
        }
        // With the first request of a minute the window before it is over.
        let end = instant(minute * 60);
        let sql = format!("SELECT state FROM evaluations WHERE window_end = TIMESTAMP '{end}'");
        let state = until(&running, || {
            let answer = running.query(&token, &sql);
            answer.json()["rows"][0]["state"]
                .as_str()
                .map(str::to_owned)
        });
        assert_eq!(state == "fired", minute >= FOUND, "{end}: {state}");
        if state == "fired" {
            until(&running, || (weight(&weights) == 0).then_some(()));
        }
    }

    // The window that ends with the fifth slow minute is looked at in the minute behind it, which is the last with traffic.
    let expected: Vec<bool> = (0..MINUTES).map(|minute| minute <= FOUND).collect();
    assert_eq!(sent_to_canary, expected);
    let findings = running
        .as_token(&token, "GET", "/api/findings?rule=canary-regression", b"")
        .json();
    let entities: Vec<&Value> = findings["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| &finding["entity"])
        .collect();
    assert_eq!(
        entities,
        [&serde_json::json!({"model": "m", "model_deployment": "m-canary"})]
    );
    running.terminate();
}
