//! The shell: reads statements and backslash commands, and shows what they give.
//!
//! Rows go to standard output (through a pager when they do not fit), everything else to standard error. A failed
//! statement is told and forgotten; the shell goes on.

mod command;
mod complete;
mod describe;
mod editor;
mod highlight;
mod pager;

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::{Command as Process, ExitCode};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow::record_batch::RecordBatch;
use clap::ValueEnum;
use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;

use self::command::Command;
use super::interrupt::cancellable;
use super::sql::{Display, run_one};
use super::{CLEAR, Global};
use crate::output::{self, Format, RowSink, Stdout, Target, Written};
use crate::query::{Engine, Failure, Source, lexer};

const PROMPT: &str = "inferwatch> ";

/// How deep a file may include another.
const INCLUDE_DEPTH: usize = 16;

/// Runs the shell until Ctrl-D or `\q`.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) fn run(
    engine: Engine,
    display: Display,
    output: Option<&Path>,
    runtime: &Runtime,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let helper = editor::SqlHelper {
        completer: complete::Completer::new(&engine.context, runtime.handle()),
        colors: global.colors_stdout(),
    };
    let mut editor = editor::editor(helper).context("cannot use the terminal")?;
    let history = editor::history_file();
    if let Some(file) = &history {
        // An unreadable history is no reason not to start.
        let _ = editor.load_history(file);
    }
    let mut shell = Shell {
        engine,
        display,
        output: None,
        timing: true,
        last: String::new(),
        runtime,
    };
    if let Some(path) = output {
        shell.redirect(
            path.to_str()
                .context("the name of the output file is not Unicode")?,
        )?;
    }
    global.note("`\\?` lists commands, `\\h` explains statements, Ctrl-D leaves");
    let mut initial = String::new();
    loop {
        let text = match editor.readline_with_initial(PROMPT, (&initial, "")) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => {
                initial.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        };
        initial.clear();
        if text.trim().is_empty() {
            continue;
        }
        if editor.add_history_entry(&text).unwrap_or(false)
            && let Some(file) = &history
        {
            let _ = editor.append_history(file);
        }
        match shell.submit(
            Source {
                name: None,
                text: &text,
            },
            0,
        ) {
            Ok(Next::Prompt) => {}
            Ok(Next::Leave) => break,
            Ok(Next::Type(text)) => initial = text,
            Err(error) => output::error(&error),
        }
        if Stdout::is_closed() {
            break;
        }
    }
    shell.close()?;
    Ok(ExitCode::from(CLEAR))
}

/// What comes after a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Prompt,
    Leave,
    /// Prompt with this text already typed.
    Type(String),
}

struct Shell<'a> {
    engine: Engine,
    display: Display,
    /// Where rows go, if not to the screen.
    output: Option<Target>,
    timing: bool,
    /// The statement that ran last, for `\watch` and `\e`.
    last: String,
    runtime: &'a Runtime,
}

impl Shell<'_> {
    /// Runs a command, or every statement of the text. What follows a failed statement is not run.
    fn submit(&mut self, source: Source<'_>, depth: usize) -> anyhow::Result<Next> {
        if source.text.trim_start().starts_with('\\') {
            return self.command(source.text, depth);
        }
        for range in lexer::statements(source.text).0 {
            self.last = source.text[range.clone()].to_string();
            self.statement(source, range)?;
        }
        Ok(Next::Prompt)
    }

    fn statement(&mut self, source: Source<'_>, range: Range<usize>) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut display = self.display;
        display.format = Some(self.format());
        let mut screen = Target::Memory(Vec::new());
        let target = match &mut self.output {
            Some(target) => target,
            // Only a table is held until it is whole, and only a table is paged.
            None if display.format == Some(Format::Table) => &mut screen,
            None => {
                screen = Target::Stdout;
                &mut screen
            }
        };
        let work = run_one(&self.engine, source, range, &display, target, 0);
        let Some(result) = self.runtime.block_on(cancellable(work)) else {
            output::note("interrupted");
            return Ok(());
        };
        let written = result?;
        let elapsed = started.elapsed();
        if let Target::Memory(text) = screen {
            pager::show(&text)?;
        }
        if self.timing || written.is_some_and(|written| written.is_cut) {
            output::note(&summary(written, elapsed));
        }
        Ok(())
    }

    fn command(&mut self, line: &str, depth: usize) -> anyhow::Result<Next> {
        let (command, argument) = command::parse(line).map_err(failure)?;
        match command {
            Command::Quit => return Ok(Next::Leave),
            Command::Edit => return self.edit().map(Next::Type),
            Command::Describe if !argument.is_empty() => {
                let name = argument.trim_matches('"');
                let source = Source {
                    name: None,
                    text: argument,
                };
                let found = self.runtime.block_on(describe::columns(&self.engine, name));
                let batch = found.map_err(|error| match error.downcast() {
                    Ok(error) => anyhow::Error::from(self.engine.explain(
                        error,
                        source,
                        &(0..argument.len()),
                    )),
                    Err(error) => error,
                })?;
                self.show(&batch)?;
            }
            Command::Describe | Command::Tables => {
                let batch = self.runtime.block_on(describe::tables(&self.engine))?;
                self.show(&batch)?;
            }
            Command::Views => {
                let source = Source {
                    name: None,
                    text: describe::VIEWS,
                };
                self.statement(source, 0..describe::VIEWS.len())?;
            }
            Command::Functions => self.show(&describe::functions(&self.engine, argument)?)?,
            Command::Expanded => {
                self.display.style.expanded ^= true;
                let state = if self.display.style.expanded {
                    "on"
                } else {
                    "off"
                };
                output::note(&format!("expanded display is {state}"));
            }
            Command::Format => self.set_format(argument)?,
            Command::Timing => {
                self.timing ^= true;
                output::note(&format!(
                    "timing is {}",
                    if self.timing { "on" } else { "off" }
                ));
            }
            Command::Include => self.include(argument, depth)?,
            Command::Output if argument.is_empty() => self.close()?,
            Command::Output => self.redirect(argument)?,
            Command::Watch => self.watch(argument)?,
            Command::Set => self.set(argument)?,
            Command::Unset => {
                let name = argument.trim_start_matches('$');
                if !self.engine.parameters.unset(name) {
                    return Err(Failure::new(format!("`${name}` has no value")).into());
                }
            }
            Command::SqlHelp => {
                let text = command::sql_help(argument).map_err(failure)?;
                pager::show(text.as_bytes())?;
            }
            Command::Help => pager::show(command::help().as_bytes())?,
        }
        Ok(Next::Prompt)
    }

    /// The format of rows: as asked for, else by where they go.
    fn format(&self) -> Format {
        self.display.format.unwrap_or_else(|| match &self.output {
            Some(target) => target.format().unwrap_or(Format::Ndjson),
            None => Format::for_stdout(),
        })
    }

    /// Shows rows that no query gave, whole.
    fn show(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let mut screen = Target::Memory(Vec::new());
        let mut style = self.display.style;
        style.max_width = 0;
        let mut sink = RowSink::new(Format::Table, batch.schema(), style, 0, &mut screen)?;
        sink.write(batch.clone())?;
        sink.finish()?;
        if let Target::Memory(text) = screen {
            pager::show(&text)?;
        }
        Ok(())
    }

    fn set_format(&mut self, name: &str) -> anyhow::Result<()> {
        if name.is_empty() {
            let format = self.format().to_possible_value();
            let name = format.as_ref().map_or("", |format| format.get_name());
            output::note(&format!("format is {name}"));
            return Ok(());
        }
        let format = Format::from_str(name, true)
            .ok()
            .filter(|format| *format != Format::Parquet)
            .ok_or_else(|| {
                Failure::new(format!("unknown format `{name}`")).with_hint(
                    "table, json, ndjson or csv; `COPY … TO 'file.parquet'` writes Parquet",
                )
            })?;
        self.display.format = Some(format);
        Ok(())
    }

    fn set(&mut self, argument: &str) -> anyhow::Result<()> {
        match argument.split_once(char::is_whitespace) {
            Some((name, value)) => {
                let name = name.trim_start_matches('$');
                self.engine
                    .parameters
                    .set(name, value.trim().trim_matches('\''));
            }
            None if argument.is_empty() => {
                for (name, value) in self.engine.parameters.iter() {
                    output::note(&format!("${name} = {value}"));
                }
            }
            None => return Err(Failure::new("`\\set` needs a name and a value").into()),
        }
        Ok(())
    }

    /// Runs a file: statements, and commands on lines of their own between them.
    fn include(&mut self, path: &str, depth: usize) -> anyhow::Result<()> {
        let path = path.trim_matches('\'');
        if depth >= INCLUDE_DEPTH {
            return Err(Failure::new(format!("`{path}` is included too deep"))
                .with_hint("does a file include itself?")
                .into());
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
        for range in script(&text) {
            // All of the text before the end, so that places count from the file's beginning.
            let (before, part) = text[..range.end].split_at(range.start);
            if part.starts_with('\\') {
                if self.command(part, depth + 1)? == Next::Leave {
                    return Ok(());
                }
                continue;
            }
            let source = Source {
                name: Some(path),
                text: &text[..range.end],
            };
            self.last = part.to_string();
            self.statement(source, before.len()..range.end)?;
        }
        Ok(())
    }

    fn redirect(&mut self, path: &str) -> anyhow::Result<()> {
        self.close()?;
        let target = Target::create(Path::new(path.trim_matches('\'')))?;
        self.output = Some(target);
        Ok(())
    }

    /// Puts the output file in its place; rows come to the screen again.
    fn close(&mut self) -> anyhow::Result<()> {
        match self.output.take() {
            Some(target) => Ok(target.finish()?),
            None => Ok(()),
        }
    }

    /// Runs the last statement again after each pause, until it fails or Ctrl-C.
    fn watch(&mut self, seconds: &str) -> anyhow::Result<()> {
        let pause = match seconds {
            "" => 2.0,
            text => text
                .parse()
                .ok()
                .filter(|seconds| (0.1..=86_400.0).contains(seconds))
                .ok_or_else(|| {
                    Failure::new(format!("`{text}` is no pause"))
                        .with_hint("seconds, from 0.1 to 86400")
                })?,
        };
        if self.last.is_empty() {
            return Err(Failure::new("there is no statement to run again").into());
        }
        let (tell, told) = channel();
        let listener = self.runtime.spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            let _ = tell.send(());
        });
        let text = self.last.clone();
        let source = Source {
            name: None,
            text: &text,
        };
        let result = loop {
            let run = self.statement(source, 0..text.len());
            if run.is_err() {
                break run;
            }
            match told.recv_timeout(Duration::from_secs_f64(pause)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break Ok(()),
            }
        };
        listener.abort();
        result
    }

    /// The last statement after the person has edited it elsewhere.
    fn edit(&self) -> anyhow::Result<String> {
        // Only its owner may read the file, which goes when the editor is left.
        let mut file = tempfile::Builder::new()
            .prefix("inferwatch-")
            .suffix(".sql")
            .tempfile()
            .context("cannot make a file to edit")?;
        writeln!(file, "{};", self.last.trim_end_matches(';'))?;
        file.flush()?;
        let editor = ["VISUAL", "EDITOR"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .unwrap_or_else(|| "vi".to_string());
        let status = Process::new("sh")
            .arg("-c")
            .arg(format!("{editor} \"$1\""))
            .arg("sh")
            .arg(file.path())
            .status()
            .with_context(|| format!("cannot start `{editor}`"))?;
        if !status.success() {
            return Err(Failure::new(format!("`{editor}` failed: {status}"))
                .with_hint("name another editor in $VISUAL or $EDITOR")
                .into());
        }
        // The editor may have put another file in its place.
        let text = std::fs::read_to_string(file.path()).context("cannot read the edited file")?;
        Ok(text.trim_end().to_string())
    }
}

/// Statements and command lines of a file, in order.
fn script(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let start = at + (rest.len() - rest.trim_start().len());
        if text[start..].starts_with('\\') {
            let end = text[start..]
                .find('\n')
                .map_or(text.len(), |end| start + end);
            parts.push(start..end);
            at = end;
            continue;
        }
        let token_end = |stop: fn(lexer::Kind) -> bool| {
            lexer::tokens(&text[start..])
                .into_iter()
                .find(|token| stop(token.kind))
                .map_or(text.len(), |token| start + token.range.end)
        };
        // A comment or one statement: a command can only begin after either.
        let is_comment = text[start..].starts_with("--") || text[start..].starts_with("/*");
        let end = if is_comment {
            token_end(|kind| kind == lexer::Kind::Comment)
        } else {
            token_end(|kind| kind == lexer::Kind::Semicolon)
        };
        parts.extend(
            lexer::statements(&text[start..end])
                .0
                .into_iter()
                .map(|range| start + range.start..start + range.end),
        );
        at = end;
    }
    parts
}

/// Rows and time.
fn summary(written: Option<Written>, elapsed: Duration) -> String {
    let time = match elapsed.as_secs_f64() {
        seconds if seconds < 60.0 => format!("{seconds:.3} s"),
        seconds => format!("{} min {:.1} s", (seconds / 60.0) as u64, seconds % 60.0),
    };
    match written {
        None => format!("done in {time}"),
        Some(Written { rows, is_cut: true }) => {
            format!("first {rows} rows in {time}; there are more")
        }
        Some(Written { rows: 1, .. }) => format!("1 row in {time}"),
        Some(Written { rows, .. }) => format!("{rows} rows in {time}"),
    }
}

fn failure((message, hint): (String, Option<String>)) -> Failure {
    let failure = Failure::new(message);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        script(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_script_mixes_statements_and_commands() {
        let text =
            "-- heading\n\\timing\nSELECT 1;\n\\d calls\nSELECT '\\x',\n 2; /* c */ \\q\nSELECT 3";
        assert_eq!(
            parts(text),
            [
                "\\timing",
                "SELECT 1",
                "\\d calls",
                "SELECT '\\x',\n 2",
                "\\q",
                "SELECT 3"
            ]
        );
        assert_eq!(parts("-- only\n"), [""; 0]);
        assert_eq!(parts("SELECT 1 -- a;\n;"), ["SELECT 1"]);
    }

    #[test]
    fn a_summary_counts_and_times() {
        let second = Duration::from_millis(1234);
        let rows = |rows, is_cut| Some(Written { rows, is_cut });
        assert_eq!(summary(rows(1, false), second), "1 row in 1.234 s");
        assert_eq!(summary(rows(0, false), second), "0 rows in 1.234 s");
        assert_eq!(
            summary(rows(5, true), second),
            "first 5 rows in 1.234 s; there are more"
        );
        assert_eq!(
            summary(None, Duration::from_secs(125)),
            "done in 2 min 5.0 s"
        );
    }
}
