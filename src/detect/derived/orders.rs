//! Whatever the way in which rows arrive and runs are made, what is stored in the end is what one clean run stores: for
//! the rules that ship, over the rows of their own tests.
//!
//! By default a few rules of different kinds and one order. `INFERWATCH_ORDER_RULES=all` takes every rule (or those that
//! are named), `INFERWATCH_SEEDS` more orders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::life::commit;
use super::positives;
use super::rows::Rows;
use crate::catalog::{Pack, ParamValue, RuleFile, RuleKind, Span};
use crate::detect::case::CaseRunner;
use crate::detect::findings::{Finding, alike, same_rows};
use crate::detect::run::{RunOptions, context_of, run};
use crate::detect::settle::same_answer;
use crate::detect::stored::{self, StoredWindow};
use crate::schema::Table;
use crate::store::Store;

const HOUR: i64 = 3_600_000_000;
/// 2026-01-06T12:00:00Z, a Tuesday.
const ANCHOR: i64 = 1_767_700_800_000_000;
/// A count, a baseline, and another table.
const SAMPLE: [&str; 3] = ["token-burn", "first-seen-model", "key-listing"];
/// Rules that share a store.
const TOGETHER: usize = 8;
const COMMITS: usize = 4;

fn chosen(pack: &Pack) -> Vec<&RuleFile> {
    let wanted = std::env::var("INFERWATCH_ORDER_RULES").unwrap_or_else(|_| SAMPLE.join(","));
    let is_wanted = |file: &&RuleFile| {
        file.rule.kind != RuleKind::Correlation
            && (wanted == "all" || wanted.split(',').any(|id| id == file.rule.id))
    };
    pack.rules.iter().filter(is_wanted).collect()
}

/// The rows of all tests of rules that fire, test after test, as events of their own. Tests of a rule are three of its
/// windows apart, as far as six hours go.
fn data(runtime: &Runtime, files: &[&RuleFile]) -> Rows {
    runtime.block_on(async {
        let runner = CaseRunner::new().await.expect("the views plan");
        let mut tables: BTreeMap<Table, Vec<RecordBatch>> = BTreeMap::new();
        for file in files {
            for (count, place) in positives(file).enumerate() {
                let case = &file.cases[place];
                let (given, signals) = runner.given(file, case).await.expect("rows");
                let rows = Rows {
                    tables: given,
                    signals,
                };
                let apart = (3 * file.rule.window.0).min(2 * HOUR);
                let by = ANCHOR - case.at + apart * (count as i64 % 3);
                let rows = rows.later(by).expect("times");
                let name = format!("{}-{place}", file.rule.id);
                let rows = rows.each_column(|column, values| {
                    if column != "event_id" {
                        return Ok(Arc::clone(values));
                    }
                    let ids = values.as_string::<i32>().iter();
                    let ids = ids.map(|id| id.map(|id| format!("{name}-{id}")));
                    Ok(Arc::new(ids.collect::<StringArray>()) as ArrayRef)
                });
                for (table, batch) in rows.expect("columns").tables {
                    tables.entry(table).or_default().push(batch);
                }
            }
        }
        let joined = tables.into_iter().map(|(table, batches)| {
            let batch = concat_batches(&table.schema(), &batches).expect("one schema");
            (table, batch)
        });
        Rows {
            tables: joined.collect(),
            signals: None,
        }
    })
}

/// What a rule's first test that fires sets: without its lists a rule may have nothing to look for.
fn params(file: &RuleFile) -> Vec<(String, String, ParamValue)> {
    let Some(place) = positives(file).next() else {
        return Vec::new();
    };
    let of_case = file.cases[place].params.iter().map(|(name, text)| {
        let mut params = file.rule.params.iter();
        let param = params
            .find(|param| param.name == *name)
            .expect("a parameter");
        let value = param.parse(text).expect("a value");
        (file.rule.id.clone(), name.clone(), value)
    });
    of_case.collect()
}

/// The rows in commits. Most come when they happened, some later by up to the horizon, some twice.
fn arrivals(rows: &Rows, random: &mut StdRng) -> Vec<Rows> {
    let mut commits = vec![
        Rows {
            tables: BTreeMap::new(),
            signals: None,
        };
        COMMITS
    ];
    for (table, batch) in &rows.tables {
        let times = rows.times(*table);
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|place| times[*place]);
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); COMMITS];
        for (position, place) in order.iter().enumerate() {
            let on_time = position * COMMITS / times.len();
            let comes = match random.random_bool(0.3) {
                true => random.random_range(on_time..COMMITS),
                false => on_time,
            };
            places[comes].push(*place as u32);
            // Copies come only where the table knows its records.
            let is_known = matches!(table, Table::Calls | Table::Audit);
            if is_known && random.random_bool(0.2) {
                places[random.random_range(0..COMMITS)].push(*place as u32);
            }
        }
        for (commit, places) in commits.iter_mut().zip(places) {
            let taken = take_record_batch(batch, &UInt32Array::from(places)).expect("rows");
            commit.tables.insert(*table, taken);
        }
    }
    commits
}

struct Lived {
    folder: TempDir,
    runtime: Runtime,
}

impl Lived {
    fn new() -> Lived {
        Lived {
            folder: TempDir::new().expect("a folder"),
            runtime: Runtime::new().expect("a runtime"),
        }
    }

    /// Opened anew, as after a restart.
    fn open(&self) -> Store {
        Store::open_or_create(self.folder.path()).expect("a store")
    }

    fn run(&self, files: &[&RuleFile], options: &RunOptions) {
        run(self.runtime.handle(), &self.open(), files, options).expect("runs");
    }

    /// Two at the same time. Either may find that the other was faster.
    fn run_twice(&self, files: &[&RuleFile], options: &RunOptions) {
        std::thread::scope(|scope| {
            let one = || run(self.runtime.handle(), &self.open(), files, options).is_ok();
            let runners = [scope.spawn(one), scope.spawn(one)];
            let done = runners.map(|runner| runner.join().expect("no panic"));
            assert!(done.contains(&true), "both were refused");
        });
    }

    fn kept(&self, file: &RuleFile, begin: i64) -> (BTreeMap<i64, StoredWindow>, Vec<Finding>) {
        self.runtime.block_on(async {
            let context = context_of(&self.open()).await.expect("a context");
            let range = (begin, ANCHOR + 1_000 * HOUR);
            let windows = stored::windows(&context, &file.rule, range).await;
            let findings = stored::findings(&context, &file.rule, begin).await;
            (windows.expect("windows"), findings.expect("findings"))
        })
    }

    /// Every change of a finding is an event that explains it.
    fn assert_explained(&self, what: &str) {
        let sql = "SELECT finding_id, revision, event, status, windows, event_count, evidence, severity, \
                   window_start, window_end FROM findings ORDER BY finding_id, revision";
        let rows = self.runtime.block_on(async {
            let context = context_of(&self.open()).await.expect("a context");
            stored::rows(&context, sql).await.expect("rows")
        });
        let mut before: Option<serde_json::Map<String, serde_json::Value>> = None;
        for row in rows {
            let last = before.filter(|last| last["finding_id"] == row["finding_id"]);
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_string();
            let (event, status) = (text("event"), text("status"));
            let expected = last
                .as_ref()
                .map_or(1, |last| last["revision"].as_i64().unwrap_or(0) + 1);
            assert_eq!(row["revision"], expected, "{what}: {row:?}");
            let was = last
                .as_ref()
                .map(|last| last["status"].as_str().unwrap_or_default());
            let told = match event.as_str() {
                "opened" => was.is_none_or(|was| was == "retracted") && status != "retracted",
                "updated" | "revised" => was.is_some_and(|was| was != "retracted"),
                "retracted" => was.is_some() && status == "retracted",
                "resolved" => was == Some("open") && status == "resolved",
                _ => false,
            };
            assert!(told, "{what}: `{event}` after {was:?}: {row:?}");
            // What ends is told as it was, but for the last digits of fractions; what is told anew differs.
            if let Some(last) = &last {
                let names = [
                    "windows",
                    "event_count",
                    "severity",
                    "window_start",
                    "window_end",
                ];
                let evidence = |row: &serde_json::Map<String, serde_json::Value>| {
                    serde_json::from_str(row["evidence"].as_str().expect("a text")).expect("JSON")
                };
                let is_same = names.iter().all(|name| last[*name] == row[*name])
                    && same_rows(&evidence(last), &evidence(&row));
                match event.as_str() {
                    "resolved" | "retracted" => assert!(is_same, "{what}: {last:?}, {row:?}"),
                    "updated" | "revised" => {
                        assert!(!is_same || was == Some("resolved"), "{what}: {row:?}");
                    }
                    _ => {}
                }
            }
            before = Some(row);
        }
    }
}

#[test]
fn any_life_ends_in_the_findings_of_one_clean_run() {
    let pack = Pack::embedded();
    let seeds = std::env::var("INFERWATCH_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    let (mut found, mut fired) = (0, BTreeSet::new());
    let chosen = chosen(&pack);
    for files in chosen.chunks(TOGETHER) {
        let clean = Lived::new();
        let rows = data(&clean.runtime, files);
        let longest = files
            .iter()
            .map(|file| file.rule.window.0)
            .max()
            .expect("one");
        let begin = ANCHOR - HOUR;
        let last = rows
            .tables
            .keys()
            .flat_map(|table| rows.times(*table))
            .max()
            .expect("one");
        let until = last + longest.min(6 * HOUR);
        let complete = RunOptions {
            is_complete: true,
            closed_until: Some(until),
            begin: Some(begin),
            late_horizon: Span::hours(24 * 400),
            params: files.iter().flat_map(|file| params(file)).collect(),
            threads: 2,
            ..RunOptions::default()
        };
        commit(&clean.open(), &[&rows]).expect("a commit");
        clean.run(files, &complete);
        for seed in 0..seeds.unwrap_or(1) {
            let mut random = StdRng::seed_from_u64(seed);
            let lived = Lived::new();
            for rows in arrivals(&rows, &mut random) {
                commit(&lived.open(), &[&rows]).expect("a commit");
                let options = RunOptions {
                    is_complete: random.random(),
                    closed_until: None,
                    ..complete.clone()
                };
                match random.random_range(0..3) {
                    0 => lived.run_twice(files, &options),
                    1 => lived.run(files, &options),
                    _ => {}
                }
            }
            lived.run_twice(files, &complete);
            lived.run(files, &complete);
            lived.assert_explained(&format!("seed {seed}"));
            for file in files {
                let what = format!("{}, seed {seed}", file.rule.id);
                let (windows, findings) = lived.kept(file, begin + 1);
                let (clean_windows, clean_findings) = clean.kept(file, begin + 1);
                for (end, window) in &clean_windows {
                    let now = windows
                        .get(end)
                        .unwrap_or_else(|| panic!("{what}: no {end}"));
                    assert_eq!(now.state, window.state, "{what}: {:?}", window.window);
                    let is_same = same_answer(&now.found, &window.found);
                    assert!(is_same, "{what}: {:?}, {:?}", now.found, window.found);
                }
                assert_eq!(windows.len(), clean_windows.len(), "{what}");
                let standing = |findings: Vec<Finding>| -> Vec<Finding> {
                    let stand = findings.into_iter().filter(|finding| !finding.is_retracted);
                    stand.collect()
                };
                let (now, clean) = (standing(findings), standing(clean_findings));
                for finding in &clean {
                    let same = |other: &&Finding| {
                        other.episode.entity == finding.episode.entity
                            && other.episode.is_open == finding.episode.is_open
                            && alike(&other.episode, &finding.episode)
                    };
                    assert!(
                        now.iter().any(|other| same(&other)),
                        "{what}: {finding:?}\nin {now:?}"
                    );
                    fired.insert(file.rule.id.clone());
                }
                assert_eq!(now.len(), clean.len(), "{what}");
                found += clean.len();
            }
        }
    }
    assert!(found >= chosen.len(), "{found} findings");
    let silent: Vec<&str> = chosen
        .iter()
        .map(|file| file.rule.id.as_str())
        .filter(|id| !fired.contains(*id))
        .collect();
    assert!(silent.is_empty(), "never found anything: {silent:?}");
}
