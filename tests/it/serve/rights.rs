//! What a token opens, and nothing else, in whatever way it is asked for.

use inferwatch::store::Rights;

use super::program::{postgres, serve};
use super::{Fixture, all};

/// Ways to a table that is not for the asker.
fn attempts(table: &str, column: &str) -> Vec<String> {
    [
        "SELECT * FROM {t}",
        "SELECT {c} FROM datafusion.public.{t}",
        "SELECT {c} FROM \"{t}\"",
        "SELECT c.{c} FROM calls JOIN {t} c ON c.event_id = calls.event_id",
        "SELECT * FROM calls WHERE event_id IN (SELECT event_id FROM {t} WHERE {c} LIKE '%sword%')",
        "SELECT (SELECT max({c}) FROM {t})",
        "SELECT * FROM calls WHERE EXISTS (SELECT 1 FROM {t})",
        "WITH x AS (SELECT * FROM {t}) SELECT * FROM x",
        "WITH RECURSIVE x AS (SELECT {c} FROM {t} UNION ALL SELECT {c} FROM x) SELECT * FROM x LIMIT 3",
        "SELECT event_id FROM calls UNION ALL SELECT {c} FROM {t}",
        "CREATE VIEW v AS SELECT * FROM {t}",
        "CREATE TABLE calls2 AS SELECT * FROM {t}",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{s}/{t}/'",
        "COPY (SELECT * FROM {t}) TO '{s}/out.csv'",
        "COPY calls TO '{s}/out.csv'",
        "INSERT INTO calls SELECT * FROM {t}",
        "SELECT * FROM '{s}/{t}/**/*.parquet'",
        "SELECT * FROM read_parquet('{s}/{t}')",
        "SELECT * FROM parquet_metadata('{s}/{t}')",
        "SET datafusion.catalog.information_schema = false",
        "SET datafusion.catalog.location = '{s}'",
        "PREPARE p AS SELECT * FROM {t}",
        "EXECUTE p",
        "EXPLAIN SELECT * FROM {t}",
        "EXPLAIN ANALYZE SELECT * FROM {t}",
        "DESCRIBE {t}",
        "SHOW COLUMNS FROM {t}",
        "SHOW CREATE TABLE {t}",
        "SELECT * FROM information_schema.columns WHERE table_name = '{t}'",
        "SELECT * FROM information_schema.tables WHERE table_name = '{t}'",
        "SELECT * FROM information_schema.views WHERE definition LIKE '%{t}%'",
        "SELECT * FROM partitions WHERE \"table\" = '{t}'",
        "SELECT * FROM files WHERE \"table\" = '{t}'",
        "SELECT * FROM ingests WHERE \"table\" = '{t}'",
        "SELECT * FROM pg_catalog.pg_class WHERE relname = '{t}'",
        "DROP TABLE calls",
        "DELETE FROM calls",
        "SELECT CAST({c} AS BIGINT) FROM {t}",
        "SELECT 1; SELECT * FROM {t}",
    ]
    .map(|sql| sql.replace("{t}", table).replace("{c}", column))
    .to_vec()
}

/// Every table, and those that hold text.
fn with_text() -> Rights {
    Rights {
        content: true,
        ..all()
    }
}

#[test]
fn who_reads_text_is_told_once_an_hour() {
    let fixture = Fixture::new();
    let metadata = fixture.reader();
    let [first, second] = ["first", "second"].map(|name| fixture.token(name, with_text()));
    let running = serve(&fixture.path(), &[]);
    let reads =
        "SELECT count(*) FROM audit WHERE action_class = 'store.read' AND resource_id = 'content'";
    assert_eq!(running.number(&first, "SELECT count(*) FROM calls"), 5);
    assert_eq!(running.number(&metadata, reads), 0);
    let text = "SELECT count(*) FROM calls JOIN content USING (event_id) WHERE text LIKE '%sword%'";
    assert_eq!(running.number(&first, text), 5);
    assert_eq!(running.number(&metadata, reads), 1);
    assert_eq!(running.number(&second, text), 5);
    let said = postgres(running.postgres, &second, "SELECT text FROM content");
    assert!(said.contains("swordfish"), "{said}");
    // An hour may have ended on the way.
    assert!((2..=3).contains(&running.number(&metadata, reads)));
    let names = running.query(
        &metadata,
        "SELECT DISTINCT caller FROM audit WHERE action_class = 'store.read' ORDER BY caller",
    );
    assert_eq!(
        names.json()["rows"],
        serde_json::json!([{"caller": "first"}, {"caller": "second"}]),
        "{}",
        names.text()
    );
}

#[test]
fn a_token_for_metadata_reads_no_content_in_any_way() {
    let fixture = Fixture::new();
    let metadata = fixture.reader();
    let content = fixture.token("content", with_text());
    let running = serve(&fixture.path(), &[]);
    // It is there, for who may read it.
    let sql = "SELECT count(*) FROM content WHERE text LIKE '%sword%'";
    assert_eq!(running.number(&content, sql), 5);
    let root = fixture.path();
    let secret = root.to_string_lossy();
    for sql in attempts("content", "text") {
        let sql = sql.replace("{s}", &secret);
        let answer = running.query(&metadata, &sql);
        let text = answer.text();
        assert!(!text.contains("swordfish"), "{sql}: {text}");
        // Either refused, or an answer without a row of it or about it.
        if answer.status == 200 {
            assert_eq!(answer.json()["row_count"], 0, "{sql}: {text}");
        } else {
            assert_eq!(answer.status, 400, "{sql}: {text}");
        }
        // Told is the asker's own text, and nothing that it does not have.
        assert!(!text.replace(&sql, "").contains("part-"), "{sql}: {text}");
        let said = postgres(running.postgres, &metadata, &sql);
        assert!(!said.contains("swordfish"), "{sql}: {said}");
        assert!(!said.contains("part-"), "{sql}: {said}");
    }
    let names = running.query(
        &metadata,
        "SELECT table_name FROM information_schema.tables",
    );
    assert!(names.text().contains("calls"));
    assert!(!names.text().contains("content") && !names.text().contains("quarantine"));
    // A name that is nearly right is not completed to one that is not there.
    let answer = running.query(&metadata, "SELECT * FROM contents");
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("`content`"), "{}", answer.text());
    assert!(!root.join("out.csv").exists());
    assert_eq!(running.number(&metadata, "SELECT count(*) FROM calls"), 5);
}

#[test]
fn a_row_filter_holds_against_every_way_of_asking() {
    let fixture = Fixture::new();
    let rights = |filter: &str| Rights {
        tables: vec!["calls".into(), "filters".into()],
        filter: Some(filter.into()),
        ..Rights::default()
    };
    let alice = fixture.token("alice", rights("caller = 'alice'"));
    let running = serve(&fixture.path(), &[]);
    assert_eq!(running.number(&alice, "SELECT count(*) FROM calls"), 3);
    assert_eq!(running.number(&alice, "SELECT count(*) FROM filters"), 3);
    assert_eq!(
        running.number(&alice, "SELECT count(*) FROM calls_merged"),
        3
    );
    assert_eq!(
        running.number(&alice, "SELECT max(input_tokens) FROM calls"),
        102
    );
    assert_eq!(
        running.number(&alice, "SELECT count(DISTINCT caller) FROM calls"),
        1
    );
    assert_eq!(
        running.number(
            &alice,
            "SELECT count(*) FROM calls WHERE input_tokens >= 102"
        ),
        1
    );
    for sql in [
        "SELECT caller FROM calls",
        "SELECT * FROM calls ORDER BY event_time DESC LIMIT 1",
        "SELECT caller FROM calls WHERE caller <> 'alice'",
        "SELECT caller FROM calls WHERE caller = 'alice' OR true",
        "SELECT max(caller), min(caller) FROM calls",
        // A condition that fails on a value tells it, if it ever sees the row.
        "SELECT count(*) FROM calls WHERE CAST(caller AS BIGINT) = 1",
        "SELECT CAST(caller AS BIGINT) FROM calls",
        "SELECT count(*) FROM calls WHERE CASE WHEN caller LIKE 'b%' THEN CAST(caller AS BIGINT) = 1 ELSE true END",
        "SELECT count(*) FROM calls WHERE input_tokens / (104 - input_tokens) > 0",
        "SELECT count(*) FROM (SELECT CAST(caller AS BIGINT) AS n, input_tokens FROM calls) WHERE n > 0",
        "SELECT a.caller FROM calls a FULL JOIN calls b ON a.event_id = b.event_id",
        "SELECT * FROM filters",
        "SELECT caller FROM calls_merged",
        "EXPLAIN SELECT * FROM calls",
        "EXPLAIN ANALYZE SELECT count(*) FROM calls",
        "SELECT * FROM partitions",
        "SELECT * FROM files",
    ] {
        let text = running.query(&alice, sql).text();
        assert!(!text.contains("bob"), "{sql}: {text}");
        let said = postgres(running.postgres, &alice, sql);
        assert!(!said.contains("bob"), "{sql}: {said}");
    }
    // What would divide by nothing for the row of 104 tokens does so for nobody who cannot see it.
    let sql = "SELECT count(*) FROM calls WHERE input_tokens / (104 - input_tokens) >= 0";
    assert_eq!(running.number(&alice, sql), 3);
    // Those that can fail on Alice's own rows tell of these.
    let own = running.query(&alice, "SELECT CAST(caller AS BIGINT) FROM calls");
    assert_eq!(own.status, 400);
    assert!(own.text().contains("alice"), "{}", own.text());
}
