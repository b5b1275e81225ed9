//! The store end to end: writing calls of few and of many callers, and one caller's hour out of ten thousand files,
//! asked by a process that has just begun.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::session::{SessionOptions, context};
use inferwatch::store::{Store, WriteOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// 2026-11-20T10:00:00Z.
const TEN: i64 = 1_795_168_800_000_000;
const HOUR: i64 = 3_600_000_000;
/// Names the store for a process that is to be measured from its beginning.
const COLD: &str = "INFERWATCH_BENCH_COLD";
const QUESTION: &str = "SELECT count(*), sum(input_tokens), max(duration_ms) FROM calls \
                        WHERE caller = 'caller-00003' AND hour = '2026-11-20T15'";

/// Calls as a log has them: in order of time, with the columns that logs fill.
fn calls(rows: usize, callers: usize, hours: i64) -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(7);
    let names: Vec<String> = (0..callers).map(|n| format!("caller-{n:05}")).collect();
    let models = ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "nova-pro"];
    let mut batches = Vec::new();
    let mut builder = CallBuilder::default();
    for n in 0..rows {
        let time = TEN
            + i64::try_from(n).expect("small") * (hours * HOUR)
                / i64::try_from(rows).expect("small");
        let id = format!(
            "{:016x}{:016x}",
            random.random::<u64>(),
            random.random::<u64>()
        );
        let hour = format!("2026-11-20T{:02}", time / HOUR % 24);
        let mut sketch = [0_u8; 64];
        random.fill(&mut sketch);
        builder.append(&Call {
            event_time: Micros(time),
            log_time: Some(Micros(time + random.random_range(0..5_000_000))),
            event_id: &id,
            source_format: "aws.bedrock.invocation",
            record_role: "primary",
            source_file: Some("logs/2026/11/20/10/0123456789.json.gz"),
            source_offset: Some(i64::try_from(n).expect("small") * 2_000),
            provider: Some("aws.bedrock"),
            operation: Some("chat"),
            model: Some(models[random.random_range(0..models.len())]),
            request_id: Some(&id),
            cloud_provider: Some("aws"),
            cloud_account_id: Some("123456789012"),
            cloud_region: Some("us-east-1"),
            caller: Some(&names[random.random_range(0..callers)]),
            source_ip: Some("10.1.2.3"),
            outcome: "success",
            http_status_code: Some(200),
            duration_ms: Some(random.random_range(1.0..9_000.0)),
            input_tokens: Some(random.random_range(1..8_000)),
            output_tokens: Some(random.random_range(1..2_000)),
            cost_usd: Some(random.random_range(0.0..0.5)),
            input_text_length: Some(random.random_range(1..30_000)),
            input_entropy: Some(random.random_range(3.0..5.0)),
            input_sha256: Some(random.random()),
            input_sketch: Some(sketch.to_vec().into()),
            injection_score: Some(0.0),
            attributes: Some("{\"schemaType\":\"ModelInvocationLog\"}"),
            hour: &hour,
            ..Call::default()
        });
        if builder.len() == 8_192 {
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    batches
}

fn write(folder: &Path, batches: &[RecordBatch], memory_budget: usize) -> Store {
    let store = Store::open_or_create(&folder.join("store")).expect("a store");
    let mut writer = store
        .writer(WriteOptions {
            memory_budget,
            ..WriteOptions::default()
        })
        .expect("a writer");
    for batch in batches {
        writer
            .write(Table::Calls, batch.clone())
            .expect("rows are taken");
    }
    writer.commit(&[("bench".to_owned(), 1)]).expect("a commit");
    store
}

fn writing(criterion: &mut Criterion) {
    const ROWS: usize = 400_000;
    let mut group = criterion.benchmark_group("write");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(30))
        .throughput(Throughput::Elements(ROWS as u64));
    for (name, callers, memory_budget) in [
        ("50 callers, 72 hours", 50, 1 << 40),
        ("10000 callers, 72 hours", 10_000, 1 << 40),
        ("10000 callers, 72 hours, spilled", 10_000, 64 << 20),
    ] {
        let batches = calls(ROWS, callers, 72);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || tempfile::tempdir().expect("a folder"),
                |folder| {
                    write(folder.path(), &batches, memory_budget);
                    folder
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What a process does that was started for one question.
fn ask(store: &Path) -> i64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(store).expect("a store");
        let context = context(&SessionOptions::default()).expect("a session");
        store.register(&context).expect("tables");
        let batches = context
            .sql(QUESTION)
            .await
            .expect("a plan")
            .collect()
            .await
            .expect("rows");
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batches[0].column(0))
            .value(0)
    })
}

fn asking(criterion: &mut Criterion) {
    // Eight callers, four models, 313 hours: 10,016 files.
    let folder = tempfile::tempdir().expect("a folder");
    let store = write(folder.path(), &calls(200_000, 8, 313), 1 << 40);
    let root = store.root().to_path_buf();
    let files = store.snapshot(Table::Calls).expect("a snapshot").len();
    let mut group = criterion.benchmark_group(format!("one caller, one hour of {files} files"));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(10));
    assert!(ask(&root) > 0, "there is something to find");
    let process = || -> PathBuf { std::env::current_exe().expect("this program") };
    group.bench_function("cold process", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let start = Instant::now();
                    let status = Command::new(process())
                        .env(COLD, &root)
                        .status()
                        .expect("it runs");
                    assert!(status.success());
                    start.elapsed()
                })
                .sum()
        });
    });
    let saved = root.join("calls/_inferwatch/snapshot");
    group.bench_function("cold process, log alone", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    std::fs::remove_file(&saved).expect("it was saved");
                    let start = Instant::now();
                    let status = Command::new(process())
                        .env(COLD, &root)
                        .status()
                        .expect("it runs");
                    assert!(status.success());
                    start.elapsed()
                })
                .sum()
        });
    });
    group.bench_function("warm", |bencher| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let context = context(&SessionOptions::default()).expect("a session");
        store.register(&context).expect("tables");
        bencher.iter(|| {
            runtime.block_on(async {
                context
                    .sql(QUESTION)
                    .await
                    .expect("a plan")
                    .collect()
                    .await
                    .expect("rows")
            })
        });
    });
    group.finish();
}

fn main() {
    if let Some(store) = std::env::var_os(COLD) {
        assert!(ask(Path::new(&store)) > 0, "there is something to find");
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    asking(&mut criterion);
    writing(&mut criterion);
    criterion.final_summary();
}
