//! Compaction, and what is removed after it: nothing is lost, whoever reads, writes or dies meanwhile.

mod beside;
mod rewriting;

use arrow::array::RecordBatch;
use inferwatch::schema::{Call, Micros, Table};
use inferwatch::store::{CompactOptions, Store, SweepOptions, WriteOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::calls::batch as calls;

/// 2026-01-30T22:00:00Z, from `date -u -d @1769810400`: two hours before the end of a month's last day but one.
const START: i64 = 1_769_810_400_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

fn call<'a>(time: i64, id: &'a str, caller: &'a str, file: &'a str, number: i64) -> Call<'a> {
    Call {
        event_time: Micros(time),
        event_id: id,
        source_format: "test",
        record_role: "primary",
        source_file: Some(file),
        source_offset: Some(number),
        caller: Some(caller),
        model: Some("m"),
        outcome: "success",
        input_tokens: Some(number),
        attributes: Some("{\"a\":1}"),
        tags: vec![("k", "v")],
        ..Call::default()
    }
}

fn commit(store: &Store, table: Table, batch: RecordBatch, source: &str) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(table, batch).expect("rows are taken");
    writer.commit(&[(source.to_owned(), 1)]).expect("a commit");
}

fn options(at: i64) -> CompactOptions {
    CompactOptions {
        at,
        ..CompactOptions::default()
    }
}

fn compact(store: &Store, options: &CompactOptions) -> inferwatch::store::CompactReport {
    let tasks = store.plan_compaction(options).expect("a plan");
    let report = store.compact(tasks, options).expect("it is compacted");
    assert_eq!(report.failed, []);
    report
}

/// Sweeps as if long after, so that nothing has to wait.
fn sweep_all(store: &Store) -> inferwatch::store::SweepReport {
    let late = SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + 30 * DAY,
        ..SweepOptions::default()
    };
    store.sweep(&late).expect("it is swept")
}

const SUMS: &str = "SELECT count(*), sum(input_tokens), sum(source_offset * 7 + input_tokens), count(DISTINCT caller), \
     CAST(sum(date_part('epoch', event_time)) AS BIGINT) FROM calls";

fn assert_sound(store: &Store) {
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
}

/// Some callers' calls over three days, in as many commits as asked.
fn fill(store: &Store, commits: usize) {
    let mut random = StdRng::seed_from_u64(7);
    for number in 0..commits {
        let ids: Vec<String> = (0..40).map(|row| format!("e-{number}-{row}")).collect();
        let mut rows: Vec<Call<'_>> = ids
            .iter()
            .enumerate()
            .map(|(row, id)| {
                // Hours of four days, the last of one month and the first of the next.
                let hour = [0, 1, 2, 3, 26, 27, 50, 51][random.random_range(0..8)];
                let time = START + hour * HOUR + random.random_range(0..HOUR);
                let caller = ["alice", "bob", "carol", "d/../e"][random.random_range(0..4)];
                call(time, id, caller, "f.jsonl", (number * 40 + row) as i64)
            })
            .collect();
        rows.shuffle(&mut random);
        commit(
            store,
            Table::Calls,
            calls(rows),
            &format!("source-{number}"),
        );
    }
}
