//! `inferwatch fmt`: lays rule files out in the one way that is agreed on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::FalseyValueParser;

use super::{CLEAR, FAILED, FOUND, Global};
use crate::catalog::{formatted, sql_files};
use crate::output;
use crate::output::escape::visible_lines;
use crate::output::words::plural;

const LONG: &str = "\
Keys of a header come in one order (see docs/rules.md), `=` under `=`; the query follows its
header, and all other blocks stand one blank line apart. Spaces at the ends of lines, tabs in
front of them, line ends of Windows and blank lines in a row go. Values, comments and the layout
of the SQL stay, and so does everything inside of texts. What a file says is compared before it is
written, so the hash in `rules.lock` never changes by it.

Example:
  inferwatch fmt --check queries/    name what is laid out otherwise; exit code 1 if anything is
  inferwatch fmt queries/            write it";

/// Lay rule files out: order of keys, blank lines, ends of lines
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Rule files, or folders of them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Write nothing, name the files that would change
    #[arg(long, env = "INFERWATCH_FMT_CHECK", value_parser = FalseyValueParser::new())]
    check: bool,
}

/// Runs the subcommand. Exit code 0: nothing to do, or done; 1: `--check` found something; 2: a file is no rule file.
///
/// # Errors
/// When a path cannot be read or written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (mut changed, mut broken, mut files) = (0, 0, 0);
    for path in sql_files(&args.paths)? {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading `{}`", path.display()))?;
        files += 1;
        match formatted(&text) {
            Err(problems) => {
                broken += 1;
                for problem in problems {
                    output::note(&problem.at(&path).to_string());
                }
            }
            Ok(laid_out) if laid_out == text => {}
            Ok(laid_out) => {
                changed += 1;
                if !args.check {
                    replace(&path, &laid_out)?;
                }
                output::data(&visible_lines(&path.display().to_string()))?;
            }
        }
    }
    let done = if args.check {
        "laid out otherwise"
    } else {
        "written"
    };
    global.note(&format!(
        "{}: {changed} {done}, {broken} cannot be read",
        plural(files, "file")
    ));
    Ok(ExitCode::from(match (broken, changed) {
        (0, 0) => CLEAR,
        (0, _) if args.check => FOUND,
        (0, _) => CLEAR,
        _ => FAILED,
    }))
}

/// The new text in place of the old in one step, so that no crash leaves half a file. Who may read it stays.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let writing = || format!("writing `{}`", path.display());
    // A link goes on to be one.
    let path = &path.canonicalize().with_context(writing)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    file.write_all(text.as_bytes()).with_context(writing)?;
    let permissions = std::fs::metadata(path).with_context(writing)?.permissions();
    file.as_file()
        .set_permissions(permissions)
        .with_context(writing)?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(writing)?;
    Ok(())
}
