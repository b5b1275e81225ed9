//! What a run costs that comes every five minutes, by how much history there is; and a backtest of all of it.
//!
//! A store with some days of calls is made, the rules that ship are run once over its last hours, and then again after
//! every five minutes of further calls: these runs are the ticks. At last all rules are evaluated over all days.
//! A tick changes the store, so it cannot be repeated as criterion does; each is measured once, and the median is told.
//! Beside the time by the clock stands that of the processors, which does not depend on what else the machine does.
//!
//! ```sh
//! INFERWATCH_BENCH_DAYS=1,10,30 INFERWATCH_BENCH_CALLS_A_DAY=166667 cargo bench --bench ticks
//! ```
//!
//! `INFERWATCH_BENCH_RULES` takes some rules by their ids, `INFERWATCH_BENCH_BACKTEST=0` leaves the backtest out.

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

mod calls;

use std::str::FromStr;
use std::time::Instant;

use arrow::array::RecordBatch;
use calls::{HOUR, TEN, calls, write};
use inferwatch::catalog::{Pack, RuleFile};
use inferwatch::detect::{Range, RunOptions, run};
use inferwatch::schema::Table;
use inferwatch::store::{Store, WriteOptions};

/// Ticks of five minutes: an hour of them.
const TICKS: usize = 12;
const TICKS_A_DAY: usize = 288;
const CALLERS: usize = 500;
/// Hours before the ticks that the first run looks at.
const SETTLED: i64 = 4;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let asked = std::env::var(format!("INFERWATCH_BENCH_{name}")).ok();
    asked
        .and_then(|asked| asked.parse().ok())
        .unwrap_or(default)
}

/// Seconds by the clock and of the processors.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (started, before) = (Instant::now(), processor_seconds());
    let result = work();
    let cost = Cost {
        wall: started.elapsed().as_secs_f64(),
        processor: processor_seconds() - before,
    };
    (result, cost)
}

/// What this process has used so far, as Linux tells it; nothing elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before the closing bracket may hold spaces; the twelfth and thirteenth numbers behind it are ticks of
    // user and system time, a hundred a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn median(mut costs: Vec<Cost>) -> Cost {
    let of = |costs: &mut Vec<Cost>, of: fn(&Cost) -> f64| {
        costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&costs[costs.len() / 2])
    };
    Cost {
        wall: of(&mut costs, |cost| cost.wall),
        processor: of(&mut costs, |cost| cost.processor),
    }
}

/// The first rows, and the rest in parts of so many.
fn cut(
    batches: &[RecordBatch],
    first: usize,
    then: usize,
) -> (Vec<RecordBatch>, Vec<Vec<RecordBatch>>) {
    let (mut history, mut parts) = (Vec::new(), vec![Vec::new(); TICKS]);
    let mut place = 0;
    for batch in batches {
        let mut offset = 0;
        while offset < batch.num_rows() {
            let at = place + offset;
            let (end, target) = match at < first {
                true => (first, &mut history),
                false => {
                    let part = ((at - first) / then).min(TICKS - 1);
                    (first + (part + 1) * then, &mut parts[part])
                }
            };
            let length = (batch.num_rows() - offset).min(end.max(at + 1) - at);
            target.push(batch.slice(offset, length));
            offset += length;
        }
        place += batch.num_rows();
    }
    (history, parts)
}

fn add(store: &Store, batches: &[RecordBatch]) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    for batch in batches {
        writer
            .write(Table::Calls, batch.clone())
            .expect("rows are taken");
    }
    writer.commit(&[]).expect("a commit");
}

fn main() {
    let pack = Pack::embedded().into_valid().expect("the rules are valid");
    let wanted: String = setting("RULES", String::new());
    let is_wanted =
        |file: &&RuleFile| wanted.is_empty() || wanted.split(',').any(|id| id == file.rule.id);
    let rules: Vec<&RuleFile> = pack.rules.iter().filter(is_wanted).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let a_tick = setting("CALLS_A_DAY", 20_000_usize) / TICKS_A_DAY;
    let days: String = setting("DAYS", "1,10,30".to_string());
    for days in days
        .split(',')
        .map(|days| days.trim().parse::<usize>().expect("days"))
    {
        let history = days * TICKS_A_DAY * a_tick;
        let hours = i64::try_from(days * 24).expect("small");
        let rows = history + TICKS * a_tick;
        let (history, parts) = cut(&calls(rows, CALLERS, hours + 1), history, a_tick);
        let folder = tempfile::tempdir().expect("a folder");
        let store = write(folder.path(), &history, 1 << 30);
        let end = TEN + hours * HOUR;
        let options = RunOptions {
            begin: Some(end - SETTLED * HOUR),
            evaluated_at: end,
            ..RunOptions::default()
        };
        let evaluate = |options: &RunOptions| {
            let store = Store::open(&folder.path().join("store")).expect("a store");
            let outcomes = run(runtime.handle(), &store, &rules, options).expect("it runs");
            let failed = outcomes
                .iter()
                .find(|outcome| outcome.states.contains_key("error"));
            assert!(
                failed.is_none(),
                "{:?}",
                failed.map(|outcome| &outcome.detail)
            );
            outcomes
                .iter()
                .map(|outcome| outcome.windows())
                .sum::<usize>()
        };
        let (windows, first) = measured(|| evaluate(&options));
        println!(
            "{days} days, {} calls, {} rules; first run, {SETTLED} h: {windows} windows in {:.2} s ({:.2} s of processors)",
            days * TICKS_A_DAY * a_tick,
            rules.len(),
            first.wall,
            first.processor
        );
        let mut ticks = Vec::new();
        let mut windows = 0;
        for part in &parts {
            add(&store, part);
            let (evaluated, cost) = measured(|| evaluate(&options));
            windows += evaluated;
            ticks.push(cost);
        }
        let tick = median(ticks);
        println!(
            "  tick of {a_tick} calls, median of {TICKS}: {:.2} s ({:.2} s of processors), {} windows",
            tick.wall,
            tick.processor,
            windows / TICKS
        );
        if setting("BACKTEST", 1) == 0 {
            continue;
        }
        let backtest = RunOptions {
            range: Range::Between(Some(TEN), Some(end)),
            dry_run: true,
            is_complete: true,
            ..options
        };
        let (windows, whole) = measured(|| evaluate(&backtest));
        println!(
            "  backtest of {days} days: {windows} windows in {:.1} s ({:.1} s of processors)",
            whole.wall, whole.processor
        );
    }
}
