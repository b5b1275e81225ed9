//! The scheduler, step by step at times that are given: what is due, what is not, and what comes of it.

use std::path::Path;

use inferwatch::catalog::{Pack, RuleFile, Span, Tier};
use inferwatch::detect::RunOptions;
use inferwatch::ingest::{ContentMode, Mapping, Options, PriceList};
use inferwatch::schedule::{
    Event, Folder, Follow, Maintenance, Retention, Scheduler, Settings, Step, Stop, Ticked,
};
use inferwatch::schema::Micros;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::runs::{
    BOUNDS, HOUR, MINUTE, TestStore, assert_same, complete, open_ended, row, rule, rules, traffic,
};

/// A day after all that happens here.
const NOW: i64 = 48 * HOUR;
const SECOND: i64 = 1_000_000;

/// No maintenance: that has tests of its own.
fn settings(run: RunOptions) -> Settings {
    Settings {
        run,
        maintenance: Maintenance {
            compact_every: None,
            retention: Retention::Off,
            ..Maintenance::default()
        },
        ..Settings::default()
    }
}

/// A scheduler over a store, and what it tells.
struct Watched<'p> {
    scheduler: Scheduler<'p>,
    _runtime: tokio::runtime::Runtime,
    told: Vec<String>,
}

impl<'p> Watched<'p> {
    fn new(store: &TestStore, pack: &'p Pack, settings: Settings) -> Watched<'p> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let files: Vec<&RuleFile> = pack.rules.iter().collect();
        let scheduler = Scheduler::new(runtime.handle(), &store.open(), &files, settings);
        Watched {
            scheduler: scheduler.expect("it plans"),
            _runtime: runtime,
            told: Vec::new(),
        }
    }

    fn tick(&mut self, now: i64) -> Ticked {
        let told = &mut self.told;
        self.scheduler.tick(now, &Stop::default(), &mut |event| {
            told.push(match event {
                Event::Followed(summary) => {
                    let failed: Vec<&str> = summary
                        .failed
                        .iter()
                        .map(|(_, reason)| reason.as_str())
                        .collect();
                    let records = summary.tally.total_records();
                    format!("{} files, {records} records {failed:?}", summary.files)
                }
                Event::Unreadable { why, .. } => format!("unreadable: {why}"),
                Event::Evaluated { outcomes, .. } => {
                    let ids = outcomes.iter().map(|outcome| outcome.file.rule.id.as_str());
                    format!("evaluated {}", ids.collect::<Vec<_>>().join(" "))
                }
                Event::Maintained(Step::Compacted(report)) => {
                    format!("{} files are {}", report.files_before, report.files_after)
                }
                Event::Maintained(Step::Swept(_)) => "swept".into(),
                Event::Maintained(Step::Retained(applied, withheld)) => {
                    let applied = applied.iter().map(|it| format!("did {}", it.action));
                    let withheld = withheld.iter().map(|it| format!("would {}", it.action));
                    applied.chain(withheld).collect::<Vec<_>>().join(" ")
                }
                Event::Failed { task, error } => format!("{task:?} failed: {error}"),
                Event::Warning(text) => format!("warning: {text}"),
            });
        })
    }

    /// Ticks, a second apart, until there is nothing more to do.
    fn settle(&mut self, now: i64) -> i64 {
        for step in 0..50 {
            let ticked = self.tick(now + step * SECOND);
            assert!(!ticked.failed, "{:?}", self.told);
            if ticked.rules == 0 && !ticked.more {
                return now + step * SECOND;
            }
        }
        panic!("it never rests: {:?}", self.told);
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn ticks_over_any_order_of_arrival_end_in_the_findings_of_one_clean_run() {
    let pack = rules();
    let rows = traffic(3, 800);
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let mut shuffled = rows.clone();
    shuffled.shuffle(&mut StdRng::seed_from_u64(3));
    for (what, rows) in [("in order", rows), ("shuffled", shuffled)] {
        let store = TestStore::new();
        store.commit(&rows[..90]);
        let mut watched = Watched::new(&store, &pack, settings(open_ended()));
        let mut now = watched.settle(NOW);
        for rows in rows[90..].chunks(90) {
            store.commit(rows);
            now = watched.settle(now + 5 * SECOND);
        }
        // Whatever was left for later is due by then; and somebody who knows that nothing is missing comes last.
        watched.settle(now + HOUR);
        store.run(&pack, &complete());
        assert_same(&store, &clean, what);
    }
}

/// A rule that waits until its windows close, so that it has nothing to do before.
fn waiting() -> Pack {
    let sql = format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller \
         HAVING count(*) FILTER (WHERE outcome = 'failure') * 2 > count(*)"
    );
    let pack = Pack::from_files([rule("waits", "", &sql)].into_iter());
    assert_eq!(pack.problems, []);
    pack
}

#[test]
fn a_rule_is_due_when_a_window_closes_and_not_before() {
    let pack = waiting();
    let store = TestStore::new();
    let minutes = |from: i64, to: i64| -> Vec<_> {
        (from..=to).map(|at| row(at as usize, at, "a", 1)).collect()
    };
    store.commit(&minutes(600, 640));
    let mut watched = Watched::new(&store, &pack, settings(open_ended()));
    // Closed up to 10:25, a quarter of an hour before the last event.
    assert_eq!(watched.tick(NOW).rules, 1);
    // Nothing has come; then rows that close nothing; then the one that does.
    assert_eq!(watched.tick(NOW + SECOND), Ticked::default());
    store.commit(&minutes(641, 644));
    assert_eq!(watched.tick(NOW + 2 * SECOND), Ticked::default());
    store.commit(&minutes(645, 645));
    assert_eq!(watched.tick(NOW + 3 * SECOND).rules, 1);
    assert_eq!(watched.tick(NOW + 4 * SECOND), Ticked::default());
    // A row that is late for windows that have closed: it waits until the rule has rested for its `every`.
    store.commit(&[row(1000, 610, "a", 1)]);
    assert_eq!(watched.tick(NOW + 5 * SECOND), Ticked::default());
    assert_eq!(watched.tick(NOW + 3 * SECOND + 5 * MINUTE).rules, 1);
    assert_eq!(
        watched.tick(NOW + 3 * SECOND + 6 * MINUTE),
        Ticked::default()
    );
    // Whoever comes after has nothing to do either: what counts is in the store.
    let mut other = Watched::new(&store, &pack, settings(open_ended()));
    assert_eq!(other.tick(NOW + 4 * SECOND), Ticked::default());
}

#[test]
fn the_clock_closes_windows_if_it_is_told_to() {
    let pack = waiting();
    let store = TestStore::with(&[row(1, 600, "a", 1), row(2, 640, "a", 1)]);
    let by_clock = Settings {
        closed_after: Some(Span::minutes(30)),
        ..settings(open_ended())
    };
    let mut watched = Watched::new(&store, &pack, by_clock);
    let ends = |store: &TestStore| -> String {
        store
            .query("SELECT max(window_end) FROM evaluations")
            .remove(0)
    };
    watched.settle(640 * MINUTE + 40 * MINUTE);
    assert_eq!(ends(&store), "1970-01-01T10:50:00Z");
    assert_eq!(watched.tick(640 * MINUTE + 44 * MINUTE).rules, 0);
    assert_eq!(watched.tick(640 * MINUTE + 45 * MINUTE).rules, 1);
    assert_eq!(ends(&store), "1970-01-01T10:55:00Z");
}

#[test]
fn a_rule_that_fails_rests_longer_each_time_and_stops_no_other() {
    let mut files = vec![rule(
        "breaks",
        "",
        &format!(
            "SELECT caller, CAST(caller AS BIGINT) AS n FROM calls WHERE {BOUNDS} GROUP BY caller"
        ),
    )];
    files.push(rule(
        "counts",
        "early = \"never\"",
        &format!(
            "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller"
        ),
    ));
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let rows: Vec<_> = (600..660).map(|at| row(at as usize, at, "a", 1)).collect();
    let store = TestStore::with(&rows);
    let mut watched = Watched::new(&store, &pack, settings(open_ended()));
    assert_eq!(watched.tick(NOW).rules, 2);
    assert!(
        store
            .findings()
            .iter()
            .any(|line| line.starts_with("counts"))
    );
    // Its `every` is five minutes: it is tried after five, and then after ten more.
    let mut tries = Vec::new();
    for minute in 1..=40 {
        if watched.tick(NOW + minute * MINUTE).rules > 0 {
            tries.push(minute);
        }
    }
    assert_eq!(tries, [5, 15, 35]);
    let only_it = watched.told().split_off(1);
    assert_eq!(only_it, ["evaluated breaks"; 3]);
}

#[test]
fn a_correlation_is_evaluated_along_with_what_it_hears() {
    let mut pack = Pack::embedded();
    let wanted = pack.rule("denial-of-wallet").expect("it ships");
    let mut ids: Vec<String> = wanted.signals.iter().map(|it| it.rule.id.clone()).collect();
    ids.push("denial-of-wallet".into());
    pack.rules.retain(|file| ids.contains(&file.rule.id));
    let rows: Vec<_> = (600..660).map(|at| row(at as usize, at, "a", 1)).collect();
    let store = TestStore::with(&rows);
    let mut watched = Watched::new(&store, &pack, settings(open_ended()));
    watched.tick(NOW);
    let told = watched.told();
    assert!(told[0].contains("denial-of-wallet"), "{told:?}");
    // It has heard what ran along with it.
    watched.settle(NOW + SECOND);
    assert_eq!(watched.told(), [""; 0]);
}

#[test]
fn the_store_is_kept_in_shape_only_when_no_rule_is_due() {
    let pack = waiting();
    let store = TestStore::new();
    for piece in 0..10 {
        let minutes = 600 + piece * 5..605 + piece * 5;
        let rows: Vec<_> = minutes.map(|at| row(at as usize, at, "a", 1)).collect();
        store.commit(&rows);
    }
    let at = 2 * 24 * HOUR;
    let settings = Settings {
        maintenance: Maintenance {
            compact_every: Some(Span::minutes(30)),
            retention: Retention::Off,
            ..Maintenance::default()
        },
        ..settings(open_ended())
    };
    let mut watched = Watched::new(&store, &pack, settings);
    assert_eq!(watched.tick(at).rules, 1);
    assert_eq!(watched.told(), ["evaluated waits"]);
    watched.settle(at + SECOND);
    let told = watched.told();
    assert!(told[0].ends_with(" files are 1"), "{told:?}");
    assert_eq!(told[1..], ["swept"]);
    // Not again before its time, and then there is nothing to do.
    watched.settle(at + 20 * MINUTE);
    watched.settle(at + 40 * MINUTE);
    assert_eq!(watched.told(), [""; 0]);
    // Files that were only written anew bring no rule anything to do.
    let mut other = Watched::new(&store, &pack, self::settings(open_ended()));
    assert_eq!(other.tick(at), Ticked::default());
}

#[test]
fn many_tiny_files_do_not_wait_for_a_quiet_time() {
    let pack = waiting();
    let store = TestStore::new();
    let add = |piece: i64| {
        let minutes = 600 + piece * 10..610 + piece * 10;
        let rows: Vec<_> = minutes.map(|at| row(at as usize, at, "a", 1)).collect();
        store.commit(&rows);
    };
    (0..5).for_each(add);
    let settings = Settings {
        maintenance: Maintenance {
            compact_every: Some(Span::hours(24 * 365)),
            tiny_files: 4,
            retention: Retention::Off,
            ..Maintenance::default()
        },
        ..settings(open_ended())
    };
    let mut watched = Watched::new(&store, &pack, settings);
    let at = 2 * 24 * HOUR;
    assert_eq!(watched.tick(at).rules, 1);
    assert_eq!(watched.told(), ["5 files are 1", "evaluated waits"]);
    assert_eq!(store.query("SELECT count(*) FROM calls"), ["50"]);
    // What the quiet time does, it has done for a year.
    watched.settle(at + SECOND);
    watched.told();
    (6..10).for_each(add);
    watched.tick(at + MINUTE);
    assert!(!watched.told().iter().any(|told| told.contains("files")));
    add(10);
    watched.tick(at + 2 * MINUTE);
    assert_eq!(watched.told()[0], "5 files are 1");
    assert_eq!(store.query("SELECT count(*) FROM calls"), ["100"]);
}

#[test]
fn retention_takes_nothing_away_unless_it_is_told_to() {
    let tier = |id: &str, action: &str| {
        let text = format!(
            "-- /// tier\n-- id = \"{id}\"\n-- title = \"t\"\n-- description = \"d\"\n-- version = 1\n\
             -- table = \"calls\"\n-- action = \"{action}\"\n-- minimum_age = \"30d\"\n-- ///\n\
             SELECT period FROM partitions WHERE \"table\" = 'calls'"
        );
        (std::path::PathBuf::from(format!("{id}.sql")), text)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (name, text) = tier("gone", "expire");
    std::fs::write(folder.path().join(name), text).expect("written");
    let tiers = Tier::read_all(&[folder.path().to_path_buf()]).expect("a tier");
    let store = TestStore::with(&[row(1, 600, "a", 1)]);
    let pack = waiting();
    // The files are of today, and so is the clock: rows are from 1970.
    let now = chrono::Utc::now().timestamp_micros();
    let with = |retention: Retention| Settings {
        maintenance: Maintenance {
            compact_every: None,
            retention,
            tiers: tiers.clone(),
            ..Maintenance::default()
        },
        ..settings(open_ended())
    };
    let rows = |store: &TestStore| store.query("SELECT count(*) FROM calls").remove(0);
    for (retention, told, left) in [
        (Retention::Off, vec![], "1"),
        (Retention::Safe, vec!["would expire"], "1"),
        (Retention::Apply, vec!["did expire"], "0"),
    ] {
        let mut watched = Watched::new(&store, &pack, with(retention));
        watched.settle(now);
        watched.told.retain(|told| !told.starts_with("evaluated"));
        assert_eq!(watched.told(), told);
        assert_eq!(rows(&store), left);
    }
    assert_eq!(
        store.query("SELECT count(*) FROM audit WHERE action = 'retention'"),
        ["1"]
    );
}

fn follow(folder: &Path) -> Settings {
    Settings {
        follow: Some(Follow {
            folders: vec![Folder {
                path: folder.to_path_buf(),
                format: None,
            }],
            options: Options {
                format: None,
                content: ContentMode::Off,
                threads: 1,
                secret: [0; 32],
                now: Micros(0),
                prices: PriceList::builtin().into(),
                mapping: Mapping::builtin().clone().into(),
            },
            settle: Span::minutes(10),
        }),
        ..settings(open_ended())
    }
}

fn call(number: usize) -> String {
    format!(
        "{{\"timestamp\":\"2026-03-02T10:{:02}:00Z\",\"request_id\":\"r-{number}\",\"model\":\"m\",\
         \"caller\":\"a\",\"input_tokens\":{number},\"output_tokens\":1}}\n",
        number % 60
    )
}

fn ids(store: &TestStore) -> Vec<String> {
    store.query("SELECT input_tokens FROM calls ORDER BY input_tokens")
}

#[test]
fn a_file_that_is_still_being_written_is_read_line_by_line() {
    let pack = waiting();
    let store = TestStore::new();
    let landing = tempfile::tempdir().expect("a folder");
    let file = landing.path().join("log.jsonl");
    let mut watched = Watched::new(&store, &pack, follow(landing.path()));
    // The clock of the steps is far ahead of the files', so nothing is fresh here but by what was seen.
    let now = chrono::Utc::now().timestamp_micros();
    assert_eq!(watched.tick(now).files, 0);
    let (first, second) = (call(1), call(2));
    let cut = second.len() / 2;
    std::fs::write(&file, format!("{first}{}", &second[..cut])).expect("written");
    assert_eq!(watched.tick(now + MINUTE).files, 1);
    assert_eq!(ids(&store), ["1"]);
    // As it is, it is not opened again.
    assert_eq!(watched.tick(now + 2 * MINUTE).files, 0);
    std::fs::write(&file, format!("{first}{second}{}", call(3))).expect("written");
    assert_eq!(watched.tick(now + 3 * MINUTE).files, 1);
    assert_eq!(ids(&store), ["1", "2", "3"]);
    // A copy of it, under another name, is known.
    std::fs::copy(&file, landing.path().join("copy.jsonl")).expect("copied");
    watched.tick(now + 4 * MINUTE);
    assert_eq!(ids(&store), ["1", "2", "3"]);
    // And so it is to a scheduler that has seen nothing of all that.
    let mut other = Watched::new(&store, &pack, follow(landing.path()));
    other.tick(now + 5 * MINUTE);
    assert_eq!(ids(&store), ["1", "2", "3"]);
}

#[test]
fn a_table_waits_until_nobody_writes_to_it() {
    let pack = waiting();
    let store = TestStore::new();
    let landing = tempfile::tempdir().expect("a folder");
    let file = landing.path().join("export.csv");
    let header = "timestamp,request_id,model,caller,input_tokens,output_tokens\n";
    let line = |number: usize| format!("2026-03-02T10:0{number}:00Z,r-{number},m,a,{number}77,1\n");
    let mut watched = Watched::new(&store, &pack, follow(landing.path()));
    let now = chrono::Utc::now().timestamp_micros();
    // Cut in the middle of a number.
    let whole = format!("{header}{}{}", line(1), line(2));
    std::fs::write(&file, &whole[..whole.len() - 4]).expect("written");
    assert_eq!(watched.tick(now).files, 0);
    assert_eq!(watched.tick(now + 5 * MINUTE).files, 0);
    std::fs::write(&file, &whole).expect("written");
    assert_eq!(watched.tick(now + 9 * MINUTE).files, 0);
    assert_eq!(watched.tick(now + 18 * MINUTE).files, 0);
    assert_eq!(watched.tick(now + 19 * MINUTE).files, 1);
    assert_eq!(ids(&store), ["177", "277"]);
}

#[test]
fn a_file_that_cannot_be_read_is_told_once_and_stops_nothing() {
    let pack = waiting();
    let store = TestStore::new();
    let landing = tempfile::tempdir().expect("a folder");
    let path = |name: &str| landing.path().join(name);
    std::fs::write(path("a.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3]).expect("written");
    std::fs::write(path("b.jsonl"), call(1)).expect("written");
    let mut settings = follow(landing.path());
    if let Some(follow) = &mut settings.follow {
        let path = landing.path().join("nowhere");
        follow.folders.push(Folder { path, format: None });
    }
    let mut watched = Watched::new(&store, &pack, settings);
    let now = chrono::Utc::now().timestamp_micros();
    watched.tick(now);
    watched.tick(now + MINUTE);
    assert_eq!(ids(&store), ["1"]);
    let told = watched.told();
    let failed = told.iter().filter(|line| line.contains("records [\""));
    let unreadable = told.iter().filter(|line| line.starts_with("unreadable"));
    assert_eq!((failed.count(), unreadable.count()), (1, 1), "{told:?}");
    // The folder appears, and the file is made whole.
    std::fs::create_dir(path("nowhere")).expect("made");
    std::fs::write(path("nowhere").join("c.jsonl"), call(2)).expect("written");
    std::fs::write(path("a.gz"), call(3)).expect("written");
    watched.tick(now + 2 * MINUTE);
    assert_eq!(ids(&store), ["1", "2", "3"]);
}
