//! Lists the SQL files under `queries/`, so that they ship inside the binary.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let queries = root.join("queries");
    println!("cargo::rerun-if-changed=queries");
    let mut files = Vec::new();
    list(&queries, &mut files)?;
    files.sort();
    let mut source = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root).expect("listed below it");
        let name = name.to_str().expect("names are ASCII").replace('\\', "/");
        writeln!(source, "    ({name:?}, include_str!({file:?})),")
            .expect("a string takes everything");
    }
    source.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("queries.rs"), source)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| {
            extension == "sql" || extension == "lock" || extension == "txt"
        }) {
            files.push(path);
        }
    }
    Ok(())
}
