//! Which files rows end up in: whoever calls, however many they are, and whether the rows fit into memory.

use std::collections::HashSet;
use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use inferwatch::schema::{CallBuilder, Content, ContentBuilder, Table};
use inferwatch::store::{Store, WriteOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::{
    HOUR, TEN, assert_sound, call, calls, commit, context, files_below, number, open, query,
    transactions,
};

#[tokio::test]
async fn ten_thousand_callers_share_a_bounded_number_of_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let names: Vec<String> = (0..10_000).map(|n| format!("caller-{n:05}")).collect();
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..3_i64 {
        // Some callers are loud, and others in each round than in that before; the rest have a row or two.
        let mut rows = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let loud = n / 50 == usize::try_from(round).expect("small");
            for _ in 0..if loud { 110 } else { 1 } {
                rows.push(call(
                    TEN + random.random_range(0..HOUR),
                    Some(name),
                    Some("m"),
                    1,
                ));
            }
        }
        rows.shuffle(&mut random);
        let options = WriteOptions {
            min_partition_rows: 100,
            ..WriteOptions::default()
        };
        let mut writer = store.writer(options).expect("a writer");
        writer
            .write(Table::Calls, calls(rows))
            .expect("rows are taken");
        writer.commit(&transactions(round)).expect("a commit");
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        let partitions: HashSet<_> = snapshot.iter().map(|file| file.partition()).collect();
        assert!(
            partitions.len() <= 64,
            "{} partitions after round {round}",
            partitions.len()
        );
        // Fifty loud ones in the first round, then only what is left: thirteen, since one is for all others.
        let own = partitions
            .iter()
            .filter(|partition| partition.caller.is_some())
            .count();
        assert_eq!(own, if round == 0 { 50 } else { 63 });
        let rows = (round + 1) * (9_950 + 50 * 110);
        assert_eq!(number(&store, "SELECT count(*) FROM calls").await, rows);
        assert_eq!(
            number(&store, "SELECT count(DISTINCT caller) FROM calls").await,
            10_000
        );
    }
    assert_sound(&store);
}

#[tokio::test]
async fn few_callers_have_partitions_of_their_own_however_few_their_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let names: Vec<String> = (0..32).map(|n| format!("caller-{n}")).collect();
    let rows = names
        .iter()
        .flat_map(|name| ["m1", "m2"].map(|model| call(TEN, Some(name), Some(model), 1)));
    commit(&store, calls(rows), 1);
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    assert_eq!(snapshot.len(), 64);
    assert!(
        snapshot
            .iter()
            .all(|file| file.partition_caller().is_some() && file.partition_model().is_some())
    );
    let folder = store
        .root()
        .join("calls/period=2026-11-20T10/partition_model=m1/partition_caller=caller-7");
    assert_eq!(files_below(&folder).len(), 1);
}

#[tokio::test]
async fn spilled_rows_end_up_as_those_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(2);
    let texts: Vec<String> = (0..1_000)
        .map(|n| {
            "x".repeat(if n % 200 == 0 {
                100_000
            } else {
                random.random_range(0..2_000)
            })
        })
        .collect();
    let names: Vec<String> = (0..100)
        .map(|n| format!("caller-{}", n * 7919 % 100))
        .collect();
    let mut stores = Vec::new();
    for (name, memory_budget) in [("memory", 1 << 30), ("spilled", 300_000)] {
        let store = Store::open_or_create(&folder.path().join(name)).expect("a store");
        let options = WriteOptions {
            memory_budget,
            min_partition_rows: 4,
            ..WriteOptions::default()
        };
        let mut writer = store.writer(options).expect("a writer");
        let mut random = StdRng::seed_from_u64(3);
        for chunk in texts.chunks(30) {
            let (mut calls, mut content) = (CallBuilder::default(), ContentBuilder::default());
            for text in chunk {
                let number = random.random_range(0..1_000_000_i64);
                let row = call(
                    TEN + random.random_range(0..5) * HOUR + random.random_range(0..HOUR),
                    Some(
                        names[random
                            .random_range(0..100_usize)
                            .min(random.random_range(0..100))]
                        .as_str(),
                    ),
                    [None, Some("m1"), Some("m2")][random.random_range(0..3)],
                    number,
                );
                calls.append(&row);
                content.append(&Content {
                    event_time: row.event_time,
                    event_id: row.event_id,
                    caller: row.caller,
                    model: row.model,
                    source_format: row.source_format,
                    source_file: row.source_file,
                    source_offset: row.source_offset,
                    direction: "input",
                    seq: 1,
                    part_type: "text",
                    text: Some(text),
                    hour: row.hour,
                    ..Content::default()
                });
            }
            writer
                .write(Table::Calls, calls.finish())
                .expect("rows are taken");
            writer
                .write(Table::Content, content.finish())
                .expect("rows are taken");
        }
        writer.commit(&transactions(1)).expect("a commit");
        assert_sound(&store);
        stores.push(store);
    }
    for table in [Table::Calls, Table::Content] {
        let described: Vec<Vec<_>> = stores
            .iter()
            .map(|store| {
                let snapshot = store.snapshot(table).expect("a snapshot");
                let mut files: Vec<_> = snapshot
                    .iter()
                    .map(|file| (file.partition(), file.rows(), file.time_range()))
                    .collect();
                files.sort();
                files
            })
            .collect();
        assert!(described[0].len() > 10, "there is something to compare");
        assert_eq!(described[0], described[1]);
    }
    for sql in [
        "SELECT count(*), sum(source_offset), sum(length(text)), min(event_time), max(event_time) FROM content",
        "SELECT caller, model, count(*), sum(source_offset) FROM calls GROUP BY 1, 2 ORDER BY 1, 2",
    ] {
        let answers = [query(&stores[0], sql).await, query(&stores[1], sql).await];
        let [memory, spilled] =
            answers.map(|batches| pretty_format_batches(&batches).expect("text").to_string());
        assert_eq!(memory, spilled);
    }
    assert_eq!(
        files_below(&stores[1].root().join("spill")),
        Vec::<PathBuf>::new()
    );
}

#[tokio::test]
async fn null_and_hostile_callers_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("a b%2F é#?")).expect("a store");
    let long = "l".repeat(10_000);
    let longer = "l".repeat(10_001);
    let wide = "\u{10FFFF}".repeat(200);
    let callers = [
        None,
        Some(""),
        Some("../../x"),
        Some("/etc/passwd"),
        Some("a\0b"),
        Some("a=b/c%"),
        Some("%2E%2E"),
        Some("."),
        Some(".."),
        Some("\u{1F600} \u{202E}é"),
        Some("__HIVE_DEFAULT_PARTITION__"),
        Some(&long),
        Some(&longer),
        Some(&wide),
        Some("arn:aws:iam::1:user/bob"),
        Some("line\nbreak"),
        Some("\"quote\\"),
    ];
    let mut rows = Vec::new();
    for (n, caller) in callers.iter().enumerate() {
        for model in [None, Some(""), Some("../m")] {
            rows.push(call(TEN, *caller, model, i64::try_from(n).expect("small")));
        }
    }
    commit(&store, calls(rows), 1);
    // Twice: the second time from the log alone.
    for round in 0..2 {
        let store = Store::open(store.root()).expect("a store");
        for (n, caller) in callers.iter().enumerate() {
            let context = context(&store);
            let state = context.table("calls").await.expect("a table");
            let filter = match caller {
                Some(caller) => {
                    datafusion::prelude::col("caller").eq(datafusion::prelude::lit(*caller))
                }
                None => datafusion::prelude::col("caller").is_null(),
            };
            let batches = state
                .filter(filter)
                .expect("a filter")
                .collect()
                .await
                .expect("rows");
            let offsets: Vec<i64> = batches
                .iter()
                .flat_map(|batch| {
                    batch
                        .column_by_name("source_offset")
                        .expect("a column")
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec()
                })
                .collect();
            assert_eq!(
                offsets,
                [i64::try_from(n).expect("small"); 3],
                "{caller:?} in round {round}"
            );
        }
        assert_sound(&store);
        let _ = std::fs::remove_dir_all(store.root().join("calls/_inferwatch"));
    }
    // Nothing left the table's folder.
    let outside = files_below(folder.path())
        .into_iter()
        .filter(|path| !path.starts_with(store.root()))
        .count();
    assert_eq!(outside, 0);
    assert!(files_below(store.root()).iter().all(|path| {
        path.strip_prefix(store.root())
            .expect("inside")
            .components()
            .count()
            <= 5
    }));
}
