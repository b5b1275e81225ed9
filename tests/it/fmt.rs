//! The layout of rule files, through the program.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::command::{bare, ended};

fn program(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(bare(folder).args(arguments).arg("--no-config"))
}

#[test]
fn files_are_laid_out_and_keep_their_meaning() {
    // The shipped rules of one family with their lock, as Windows and a careless editor leave them.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/rules");
    let folder = TempDir::new().expect("a folder");
    let mut files = Vec::new();
    for entry in fs::read_dir(shipped.join("guardrails")).expect("is there") {
        let path = entry.expect("is there").path();
        let text = fs::read_to_string(&path).expect("text");
        let name = path.file_name().expect("a name").to_os_string();
        let careless = text
            .replace("FROM calls\n", "FROM calls  \n\n\n")
            .replace('\n', "\r\n");
        fs::write(folder.path().join(&name), careless).expect("ours");
        files.push((name, text));
    }
    let lock = fs::read_to_string(shipped.join("rules.lock")).expect("is there");
    let of_family = |line: &&str| {
        files.iter().any(|(name, _)| {
            let id = Path::new(name)
                .file_stem()
                .expect("a name")
                .to_string_lossy();
            line.starts_with(&format!("{id} "))
        })
    };
    let lock: Vec<&str> = lock.lines().filter(of_family).collect();
    fs::write(folder.path().join("rules.lock"), lock.join("\n")).expect("ours");

    let (code, out, errors) = program(folder.path(), &["fmt", "--check", "."]);
    assert_eq!(code, 1, "{errors}");
    assert_eq!(out.lines().count(), files.len(), "{out}");
    assert_eq!(
        errors,
        format!(
            "{} files: {} laid out otherwise, 0 cannot be read\n",
            files.len(),
            files.len()
        )
    );
    let (code, ..) = program(folder.path(), &["fmt", "."]);
    assert_eq!(code, 0);
    for (name, text) in &files {
        // A blank line that somebody put into the query is his.
        let wanted = text.replace("FROM calls\n", "FROM calls\n\n");
        assert_eq!(
            fs::read_to_string(folder.path().join(name)).expect("is there"),
            wanted
        );
    }
    let (code, out, _) = program(folder.path(), &["fmt", "--check", "."]);
    assert_eq!((code, out.as_str()), (0, ""));
    // The lock of the shipped files still holds.
    let (code, out, errors) = program(folder.path(), &["check", "."]);
    assert_eq!(code, 0, "{out}{errors}");
    assert!(!out.contains("L-VERSION"), "{out}");
}

#[test]
fn what_is_no_rule_file_is_told_and_left() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("open.sql"), "-- /// rule\nSELECT 1  \n").expect("ours");
    fs::write(folder.path().join("plain.sql"), "SELECT 1  \n").expect("ours");
    let (code, out, errors) = program(folder.path(), &["fmt", "."]);
    assert_eq!((code, out.as_str()), (2, "./plain.sql\n"));
    assert!(errors.contains("open.sql:2"), "{errors}");
    assert_eq!(
        fs::read_to_string(folder.path().join("open.sql")).expect("is there"),
        "-- /// rule\nSELECT 1  \n"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("plain.sql")).expect("is there"),
        "SELECT 1\n"
    );
    let (code, _, errors) = program(folder.path(), &["fmt", "nowhere"]);
    assert_eq!(code, 2);
    assert!(errors.contains("nowhere"), "{errors}");
}
