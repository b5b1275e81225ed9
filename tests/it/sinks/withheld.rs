//! Words of prompts and responses stay, unless a route says otherwise; secrets stay in any case.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::{Pack, RuleFile};

use super::server::Server;
use super::{Event, MINUTE, NOON, TestStore, opened, pass};

/// Rules with columns that words reach on different ways, and columns that they do not.
fn rules() -> Vec<RuleFile> {
    let rule = |id: &str, keys: &str, sql: &str| {
        let text = format!(
            "-- /// rule\n-- id = \"{id}\"\n-- title = \"What the rule calls itself\"\n-- description = \"d\"\n-- version = 1\n\
             -- status = \"test\"\n-- severity = \"high\"\n-- confidence = \"low\"\n-- window = \"10m\"\n-- every = \"5m\"\n\
             {keys}-- ///\n{sql}"
        );
        (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
    };
    let over_content =
        "-- source = [\"content\"]\n-- requires = [\"caller\"]\n-- entity = [\"caller\"]\n";
    let files = [
        rule(
            "plain",
            over_content,
            "WITH parts AS (SELECT caller, lower(text) AS words, text_length, event_id FROM content \
             WHERE event_time >= $window_start AND event_time < $window_end) \
             SELECT caller, max(words) AS sample, 'saw ' || max(words) AS title, array_agg(words) AS samples, \
             sum(text_length) AS letters, count(*) AS event_count, array_agg(event_id) AS evidence, \
             CASE WHEN max(words) LIKE '%key%' THEN 'key' ELSE 'none' END AS verdict, \
             (SELECT max(text) FROM content) AS other, named_struct('a', max(words)) AS nested \
             FROM parts GROUP BY caller",
        ),
        rule(
            "by-words",
            "-- source = [\"content\"]\n-- requires = [\"caller\"]\n-- entity = [\"words\"]\n",
            "SELECT u.words, count(*) AS event_count FROM (SELECT unnest(string_to_array(text, ' ')) AS words FROM content \
             WHERE event_time >= $window_start AND event_time < $window_end) AS u \
             JOIN calls ON calls.caller = u.words GROUP BY u.words",
        ),
        rule(
            "joined",
            over_content,
            "SELECT calls.caller, calls.model, max(content.tool_name) AS tool FROM calls JOIN content \
             ON calls.event_id = content.event_id AND content.text LIKE '%x%' \
             WHERE calls.event_time >= $window_start AND calls.event_time < $window_end GROUP BY calls.caller, calls.model",
        ),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    pack.rules
}

const WORDS: &str = "my card is 4111";

/// What a webhook is told of a finding.
fn told(event: Event, route: &str, rules: Vec<RuleFile>) -> serde_json::Value {
    let server = Server::new();
    let settings = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n[[routes]]\nsinks = [\"hook\"]\n{route}",
        server.url()
    );
    let store = TestStore::new();
    let mut deliverer = store.deliverer_with(&settings, rules);
    pass(&mut deliverer, NOON);
    store.commit(&[event]);
    pass(&mut deliverer, NOON + MINUTE);
    let [request] = server.requests().try_into().expect("one");
    request.json()["findings"][0].clone()
}

fn of_plain() -> Event {
    Event {
        rule: "plain",
        title: "saw my card is 4111",
        evidence: "{\"caller\":\"svc-a\",\"sample\":\"my card is 4111\",\"samples\":[\"my card is 4111\"],\
                   \"title\":\"saw my card is 4111\",\"letters\":15,\"event_count\":7,\"evidence\":[\"e1\"],\
                   \"verdict\":\"key\",\"other\":\"my card is 4111\",\"nested\":{\"a\":\"my card is 4111\"}}",
        ..opened("aaaa")
    }
}

#[test]
fn words_of_prompts_stay_and_what_was_counted_goes() {
    let told = told(of_plain(), "", rules());
    assert!(!told.to_string().contains(WORDS), "{told}");
    assert_eq!(
        told["evidence"],
        serde_json::json!({
            "caller": "svc-a",
            "letters": 15,
            "event_count": 7,
            "evidence": ["e1"],
            "verdict": "key",
        })
    );
    assert_eq!(told["title"], "What the rule calls itself");
    assert_eq!(told["entity"]["caller"], "svc-a");
    assert_eq!(
        told["withheld"],
        serde_json::json!(["nested", "other", "sample", "samples", "title"])
    );
}

#[test]
fn a_route_may_let_them_go() {
    let told = told(of_plain(), "include_content = true\n", rules());
    assert_eq!(told["evidence"]["sample"], WORDS);
    assert_eq!(told["withheld"], serde_json::json!([]));
}

#[test]
fn a_subject_made_of_words_is_not_named() {
    let event = Event {
        rule: "by-words",
        caller: WORDS,
        evidence: "{\"words\":\"my card is 4111\",\"event_count\":7}",
        ..opened("aaaa")
    };
    let told = told(event, "", rules());
    assert_eq!(told["entity"]["words"], "(withheld)");
    assert_eq!(told["evidence"], serde_json::json!({ "event_count": 7 }));
}

#[test]
fn what_words_only_chose_goes() {
    let event = Event {
        rule: "joined",
        evidence: "{\"caller\":\"svc-a\",\"model\":\"gpt\",\"tool\":\"search\"}",
        ..opened("aaaa")
    };
    let told = told(event, "", rules());
    assert_eq!(told["evidence"]["tool"], "search");
    assert_eq!(told["withheld"], serde_json::json!([]));
}

#[test]
fn of_a_rule_that_is_not_known_no_text_goes() {
    let told = told(of_plain(), "", Vec::new());
    assert!(!told.to_string().contains(WORDS), "{told}");
    assert_eq!(told["entity"]["caller"], "(withheld)");
    assert_eq!(told["title"], "a finding of `plain`");
    assert_eq!(
        told["evidence"],
        serde_json::json!({ "letters": 15, "event_count": 7 })
    );
}

#[test]
fn of_rules_that_read_no_words_everything_goes() {
    let told = told(opened("aaaa"), "", super::rules());
    assert_eq!(told["withheld"], serde_json::json!([]));
    assert_eq!(told["entity"]["caller"], "svc-a");
}

#[test]
fn secrets_are_shown_nowhere() {
    // A server that repeats what it was sent, and refuses it.
    let server = Server::answering(|request| {
        let headers: String = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        Some((400, format!("{} {headers}", request.path)))
    });
    let store = TestStore::new();
    let write = |name: &str, text: String| {
        let path = store.folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let settings = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl_file = \"{}\"\nsecret_file = \"{}\"\nbearer_file = \"{}\"",
        write(
            "url",
            format!("http://{}/services/very-secret-path", server.address)
        ),
        write("secret", "signing-secret-1".into()),
        write("token", "bearer-secret-2".into()),
    );
    let mut deliverer = store.deliverer(&settings);
    pass(&mut deliverer, NOON);
    store.commit(&[opened("aaaa")]);
    let passes = pass(&mut deliverer, NOON + MINUTE);
    assert_eq!(passes[0].dead, 1);
    let answer = passes[0].failures[0]
        .answer
        .as_deref()
        .expect("it answered");
    assert!(
        answer.contains("authorization: Bearer (secret)"),
        "{answer}"
    );
    let outbox = std::fs::read_to_string(store.folder.path().join("store/sinks/hook"));
    let shown = format!("{passes:?} {deliverer:?} {}", outbox.expect("is there"));
    for secret in ["very-secret-path", "signing-secret-1", "bearer-secret-2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
