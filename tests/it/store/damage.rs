//! Damage: what is torn or was not finished is mended or told of, and never believed.

use inferwatch::schema::Table;
use inferwatch::store::Store;

use super::{TEN, assert_sound, call, calls, commit, files_below, number, open};

#[tokio::test]
async fn a_commit_cut_off_by_a_crash_is_set_aside_with_a_warning() {
    for saved in [true, false] {
        for damage in ["empty", "cut", "zeros"] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = open(folder.path());
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
            if saved {
                // Another process saves what it had to read.
                Store::open(store.root())
                    .expect("a store")
                    .snapshot(Table::Calls)
                    .expect("a snapshot");
            }
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 2)]), 2);
            let newest = store
                .root()
                .join("calls/_delta_log/00000000000000000002.json");
            let text = std::fs::read(&newest).expect("a commit");
            let torn = match damage {
                "empty" => Vec::new(),
                "cut" => text[..text.len() - 40].to_vec(),
                _ => vec![0; text.len()],
            };
            std::fs::write(&newest, torn).expect("damage is done");
            let store = Store::open(store.root()).expect("a store");
            assert_eq!(
                number(&store, "SELECT count(*) FROM calls").await,
                1,
                "{damage}, saved: {saved}"
            );
            let warnings = store.take_warnings();
            assert_eq!(warnings.len(), 1);
            assert!(
                warnings[0].contains("calls") && warnings[0].contains("commit 2"),
                "{}",
                warnings[0]
            );
            assert!(store.take_warnings().is_empty());
            // The same rows again: they were never in.
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 2)]), 2);
            assert_eq!(
                number(&store, "SELECT sum(input_tokens) FROM calls").await,
                3
            );
            let report = store.verify(true).expect("it can be verified");
            assert_eq!(report.problems, []);
            assert_eq!(
                report.unreferenced.len(),
                1,
                "the file of the commit that was lost"
            );
        }
    }
}

#[tokio::test]
async fn other_damage_stops_with_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for n in 1..=3 {
        commit(&store, calls([call(TEN, Some("a"), Some("m"), n)]), n);
    }
    std::fs::write(
        store
            .root()
            .join("calls/_delta_log/00000000000000000002.json"),
        "garbage\n{\"add\":{}}\n",
    )
    .expect("damage");
    let _ = std::fs::remove_dir_all(store.root().join("calls/_inferwatch"));
    let store = Store::open(store.root()).expect("a store");
    let error = store
        .snapshot(Table::Calls)
        .expect_err("the log is damaged");
    assert!(error.to_string().contains("calls"), "{error}");
    assert!(error.hint().is_some());
    assert!(store.take_warnings().is_empty(), "nothing was moved");
    let report = store.verify(false).expect("damage is reported");
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.message.contains("commit 2 is damaged")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_saved_snapshot_that_is_damaged_or_old_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
    Store::open(store.root())
        .expect("a store")
        .snapshot(Table::Calls)
        .expect("a snapshot");
    let saved = store.root().join("calls/_inferwatch/snapshot");
    let whole = std::fs::read(&saved).expect("it was saved");
    for (at, _) in whole.iter().enumerate().step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&saved, &damaged).expect("damage");
        let store = Store::open(store.root()).expect("a store");
        assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 1);
    }
    // Old is fine, with what came after on top.
    std::fs::write(&saved, &whole).expect("as it was");
    for n in 2..=5 {
        commit(&store, calls([call(TEN, Some("a"), Some("m"), n)]), n);
    }
    std::fs::write(&saved, &whole).expect("as it was");
    let store = Store::open(store.root()).expect("a store");
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    assert_eq!(
        (
            snapshot.rows(),
            snapshot.version(),
            snapshot.transactions()["source"]
        ),
        (5, Some(5), 5)
    );
    assert_sound(&store);
}

#[tokio::test]
async fn verify_finds_what_was_done_to_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let rows = ["a", "b", "c", "d"].map(|caller| call(TEN, Some(caller), Some("m"), 1));
    commit(&store, calls(rows), 1);
    assert_sound(&store);
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    let path = |index: usize| store.root().join("calls").join(snapshot.file(index).path());
    std::fs::remove_file(path(0)).expect("gone");
    let whole = std::fs::read(path(1)).expect("a file");
    std::fs::write(path(1), &whole[..whole.len() - 1]).expect("cut");
    // As many bytes, another content: only reading it all can tell.
    std::fs::copy(path(3), path(2)).expect("exchanged");
    std::fs::copy(path(3), path(3).with_file_name("part-x.parquet")).expect("left over");
    let shallow = store.verify(false).expect("a report");
    assert_eq!(shallow.problems.len(), 2, "{:?}", shallow.problems);
    assert_eq!(shallow.unreferenced.len(), 1);
    let deep = store.verify(true).expect("a report");
    assert_eq!(deep.problems.len(), 3, "{:?}", deep.problems);
    assert!(
        deep.problems
            .iter()
            .any(|problem| problem.message.contains("another partition"))
    );
}

#[test]
fn a_folder_that_is_not_a_store_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Store::open(folder.path()).expect_err("it is empty");
    assert!(error.to_string().contains("is not a store") && error.hint().is_some());
    std::fs::write(folder.path().join("thesis.txt"), "precious").expect("a file");
    let error = Store::open_or_create(folder.path()).expect_err("it is somebody else's");
    assert!(error.hint().is_some());
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[test]
fn a_store_that_was_not_finished_is_made_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("store");
    std::fs::create_dir_all(root.join("keys")).expect("a folder");
    // The marker under the name that it has until it is on the disk.
    std::fs::write(root.join(".inferwatch.json.4711.00ff.tmp"), "{").expect("a file");
    Store::open_or_create(&root).expect("nothing else is in there");

    let other = folder.path().join("other");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join(".thesis.txt.4711.00ff.tmp"), "precious").expect("a file");
    Store::open_or_create(&other).expect_err("it is somebody else's");
}

#[test]
fn a_log_that_was_not_begun_is_a_table_without_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    for left in [
        None,
        Some(".00000000000000000000.json.4711.00ff.tmp"),
        Some(".torn-00000000000000000000-00ff.json"),
    ] {
        let store = open(&folder.path().join(left.unwrap_or("nothing")));
        let log = store.root().join("calls/_delta_log");
        std::fs::create_dir_all(&log).expect("a folder");
        if let Some(name) = left {
            std::fs::write(log.join(name), "{").expect("a file");
        }
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        assert_eq!((snapshot.version(), snapshot.rows()), (None, 0));
        commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
        assert_sound(&store);
        // A log whose versions are gone was begun.
        let store = Store::open(store.root()).expect("a store");
        assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 1);
        for path in files_below(&log) {
            std::fs::remove_file(path).expect("gone");
        }
        let store = Store::open(store.root()).expect("a store");
        store
            .snapshot(Table::Calls)
            .expect_err("rows were there before");
    }
}
