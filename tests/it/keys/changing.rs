//! Keys are changed, and stores encrypted and erased from: no data is lost, and none is left in clear.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::{Bench, COUNT, MARKER, logs};

#[test]
fn rotation_writes_no_data_and_the_old_key_opens_nothing() {
    let bench = Bench::with_content(30);
    let before = bench.content_files();
    bench
        .with("a.key", &["keys", "rotate", "--new-key-file", "b.key"])
        .expect(0);
    assert_eq!(bench.content_files(), before);
    fs::rename(bench.path().join("a.key"), bench.path().join("old.key")).expect("renamed");
    assert_eq!(bench.ask("b.key", COUNT), "n,texts\n60,31\n");
    let old = bench.with("old.key", &["sql", COUNT]).expect(2);
    assert!(old.told.contains("does not hold its key"), "{}", old.told);
    bench
        .with("old.key", &["keys", "rotate", "--new-key-file", "c.key"])
        .expect(2);

    logs(bench.path(), "second", 6);
    bench
        .with("b.key", &["ingest", "--content", "raw", "second.jsonl"])
        .expect(0);
    let files = |status: &BTreeMap<String, Value>| -> Vec<u64> {
        let keys = status["content"]["keys"].as_array().expect("keys");
        keys.iter()
            .map(|key| key["files"].as_u64().expect("a number"))
            .collect()
    };
    let counts = files(&bench.status());
    assert_eq!(counts[0], before.len() as u64);
    assert!(counts[1] > 0 && counts.len() == 2, "{counts:?}");

    // What the old key has opened is written with the new one, when asked.
    bench
        .with("b.key", &["keys", "encrypt", "--renew"])
        .expect(0);
    assert_eq!(files(&bench.status())[0], 0);
    assert_eq!(bench.ask("b.key", COUNT), "n,texts\n72,37\n");
    let again = bench
        .with(
            "b.key",
            &["keys", "encrypt", "--renew", "--format", "table"],
        )
        .expect(0);
    assert_eq!(again.out, "nothing to encrypt\n");
    let events = "SELECT action FROM audit WHERE action LIKE 'keys.%' ORDER BY event_time";
    assert_eq!(
        bench.ask("b.key", events),
        "action\nkeys.init\nkeys.rotate\nkeys.encrypt\n"
    );
}

#[test]
fn what_was_there_before_is_encrypted_when_asked() {
    let bench = Bench::new();
    logs(bench.path(), "first", 30);
    bench
        .run(&["ingest", "--content", "raw", "first.jsonl"])
        .expect(0);
    let init = bench.with("a.key", &["keys", "init"]).expect(0);
    assert!(
        init.told.contains("inferwatch keys encrypt"),
        "{}",
        init.told
    );
    // Both kinds of files are read.
    logs(bench.path(), "second", 6);
    bench
        .with("a.key", &["ingest", "--content", "raw", "second.jsonl"])
        .expect(0);
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
    let plain = bench.status()["content"]["plain_files"]
        .as_u64()
        .expect("a number");
    assert!(plain > 0);
    let shut = bench.run(&["keys", "encrypt"]).expect(2);
    assert!(shut.told.contains("no key was given"), "{}", shut.told);
    let plan = bench
        .run(&["keys", "encrypt", "--plan", "--format", "json"])
        .expect(0);
    let plan: Value = serde_json::from_str(&plan.out).expect("JSON");
    assert_eq!(plan["done"], false);

    bench.with("a.key", &["keys", "encrypt"]).expect(0);
    let status = &bench.status()["content"];
    assert_eq!(
        (
            status["plain_files"].as_u64(),
            status["plain_waiting_files"].as_u64()
        ),
        (Some(0), Some(plain))
    );
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
    bench.with("a.key", &["compact", "--grace", "0s"]).expect(0);
    assert_eq!(bench.status()["content"]["plain_waiting_files"], 0);
    assert_eq!(bench.files_with(&[MARKER]), []);
    // Rules saw nothing new.
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
}

#[test]
fn erasure_works_on_encrypted_text_and_is_proved_with_the_key() {
    let bench = Bench::with_content(30);
    let caller = "arn:aws:iam::1:user/u1";
    bench
        .with(
            "a.key",
            &[
                "erase",
                "--caller",
                caller,
                "--grace",
                "0s",
                "--receipt",
                "u1.json",
            ],
        )
        .expect(0);
    bench.with("a.key", &["compact"]).expect(0);
    let shut = bench.run(&["erase", "verify", "u1.json"]).expect(2);
    assert!(shut.told.contains("no key was given"), "{}", shut.told);
    let proof = bench.with("a.key", &["erase", "verify", "u1.json", "--format", "json"]);
    assert_eq!(proof.code, 0, "{}{}", proof.out, proof.told);
    assert_eq!(bench.files_with(&[caller]), []);
    let left = "SELECT count(*) AS n, count(*) FILTER (WHERE caller = 'arn:aws:iam::1:user/u1') AS u1 FROM content";
    assert_eq!(bench.ask("a.key", left), "n,u1\n40,0\n");
}

#[test]
fn nothing_is_overwritten_and_nothing_written_in_clear_when_the_ring_is_lost() {
    let bench = Bench::with_content(6);
    let again = bench.with("b.key", &["keys", "init"]).expect(2);
    assert!(
        again.told.contains("`content` is encrypted already"),
        "{}",
        again.told
    );
    assert!(!bench.path().join("b.key").exists());
    let inside = bench
        .with("store/keys/a.key", &["keys", "init", "--table", "calls"])
        .expect(2);
    assert!(inside.told.contains("lies in the store"), "{}", inside.told);
    let none = bench.run(&["keys", "init", "--table", "calls"]).expect(2);
    assert!(
        none.told.contains("no key was given") && none.told.contains("hint: `--key-file"),
        "{}",
        none.told
    );

    let ring = bench.path().join("store/keys/ring.json");
    let aside = bench.path().join("ring.json");
    fs::rename(&ring, &aside).expect("moved");
    logs(bench.path(), "second", 6);
    for arguments in [
        &["ingest", "--content", "raw", "second.jsonl"][..],
        &["sql", COUNT],
        &["keys", "init"],
        &["store", "repair", "--apply"],
    ] {
        let lost = bench.with("a.key", arguments).expect(2);
        assert!(lost.told.contains("ring.json` is gone"), "{}", lost.told);
    }
    assert_eq!(bench.files_with(&[MARKER]), []);
    fs::rename(&aside, &ring).expect("moved");
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n12,7\n");

    // One of another store opens nothing, and no file is taken for damaged.
    let other = Bench::with_content(6);
    fs::copy(other.path().join("store/keys/ring.json"), &ring).expect("copied");
    fs::copy(other.path().join("a.key"), bench.path().join("other.key")).expect("copied");
    let files = bench.content_files();
    let shut = bench.with("other.key", &["sql", COUNT]).expect(2);
    assert!(
        shut.told
            .contains("which the store's key ring does not have"),
        "{}",
        shut.told
    );
    bench
        .with("other.key", &["store", "repair", "--apply"])
        .expect(0);
    assert_eq!(bench.content_files(), files);
}
