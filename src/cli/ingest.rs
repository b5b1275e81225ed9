//! `inferwatch ingest`: provider logs into the store.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;

use super::{CLEAR, FOUND, Global};
use crate::error::{Error, Result};
use crate::ingest::format::Format;
use crate::ingest::{self, ContentMode, Mapping, Options, PriceList, Progress, Source, Summary};
use crate::output::escape::visible;
use crate::output::{self, bar};
use crate::schema::{Micros, Table};
use crate::store::{Store, WriteOptions};

const AFTER_HELP: &str = "\
Files are recognised by what is in them; gzip and zstd are unpacked. Content that the store has already, under
whatever name, is passed over, and a file that has grown is read on from where it ended.

Examples:
  inferwatch ingest AWSLogs/                       a folder of Bedrock and CloudTrail logs
  inferwatch ingest --content redacted otel.jsonl  keep prompts, with personal data replaced
  zcat big.gz | inferwatch ingest -                standard input
  inferwatch ingest --mapping service.toml app.log  logs of your own, with their own names
  inferwatch ingest --explain otel.jsonl           show how its first records are read, and write nothing

Exit codes: 0 everything was read (quarantined lines included), 1 a file could not be read, 2 nothing could be done.";

/// Read provider logs into the store.
#[derive(Debug, ClapArgs)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Files, folders, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Format of every record, when it is not to be recognised.
    #[arg(long, env = "INFERWATCH_INGEST_FORMAT", default_value = "auto", value_name = "FORMAT", value_parser = format_names())]
    format: String,
    /// What becomes of prompt and response text.
    #[arg(long, env = "INFERWATCH_INGEST_CONTENT", value_enum, default_value_t)]
    content: ContentMode,
    /// Prices that win over the list that ships, or replace it.
    #[arg(long, env = "INFERWATCH_INGEST_PRICES", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    prices: Option<PathBuf>,
    /// Where columns are found in records of no known format.
    #[arg(long, env = "INFERWATCH_INGEST_MAPPING", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    mapping: Option<PathBuf>,
    /// Threads that decode; as many as there are processors when not given.
    #[arg(long, env = "INFERWATCH_INGEST_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// Show which field of the first records fills which column, and write nothing.
    #[arg(long)]
    explain: bool,
    /// Print the summary as JSON.
    #[arg(long, env = "INFERWATCH_INGEST_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

fn format_names() -> Vec<&'static str> {
    std::iter::once("auto")
        .chain(Format::ALL.map(Format::name))
        .collect()
}

/// How records are read, whatever the store.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) format: Option<Format>,
    pub(super) content: ContentMode,
    pub(super) threads: Option<usize>,
    pub(super) prices: PriceList,
    pub(super) mapping: Mapping,
}

impl Reading {
    /// As it is without a flag.
    pub(super) fn with_content(content: ContentMode) -> Reading {
        Reading {
            format: None,
            content,
            threads: None,
            prices: PriceList::builtin(),
            mapping: Mapping::builtin().clone(),
        }
    }
}

impl Args {
    fn reading(&self) -> Result<Reading> {
        let mut reading = Reading::with_content(self.content);
        reading.format = Format::from_name(&self.format);
        reading.threads = self.threads;
        if let Some(path) = &self.prices {
            reading.prices = PriceList::with_file(path)?;
        }
        if let Some(path) = &self.mapping {
            reading.mapping = Mapping::with_file(path)?;
        }
        Ok(reading)
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When a named path does not exist or the store cannot be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let listing = ingest::list(&args.paths)?;
    let reading = args.reading()?;
    if args.explain {
        return explain(&listing.sources, &reading);
    }
    let store = global.open_or_create_store()?;
    warn_of_clear_text(&store, reading.content, global)?;
    let summary = into_store(&store, listing, &reading, global)?;
    if args.json {
        output::data(&serde_json::to_string_pretty(&summary)?)?;
    }
    Ok(ExitCode::from(if summary.failed.is_empty() {
        CLEAR
    } else {
        FOUND
    }))
}

/// Says that text will be readable for whoever can read the disk.
///
/// # Errors
/// When the store's keys cannot be read.
pub(super) fn warn_of_clear_text(
    store: &Store,
    content: ContentMode,
    global: &Global,
) -> Result<()> {
    if content != ContentMode::Off && !store.is_encrypted(Table::Content)? {
        global.note(
            "warning: prompts and answers will be on disk in clear\nhint: `inferwatch keys init` encrypts table `content` \
             from then on",
        );
    }
    Ok(())
}

/// Ingests into a store with a progress bar, and prints the summary.
///
/// # Errors
/// When the store cannot be written.
pub(super) fn into_store(
    store: &Store,
    listing: ingest::Listing,
    reading: &Reading,
    global: &Global,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let options = Options {
        format: reading.format,
        content: reading.content,
        threads: reading
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        secret: *store.secret(),
        now: Micros(chrono::Utc::now().timestamp_micros()),
        prices: Arc::new(reading.prices.clone()),
        mapping: Arc::new(reading.mapping.clone()),
    };
    let progress = Progress::default();
    let bar = bar::bytes(listing.bytes, &progress.bytes, global.quiet);
    let passed_over = listing.passed_over;
    let write = WriteOptions::default();
    let result = ingest::into_store(store, listing.sources, &options, write, &progress, &|| {
        false
    });
    drop(bar);
    let summary = match result {
        Err(error @ Error::Locked { .. }) => return Err(error.into()),
        result => result.with_context(|| format!("ingest into `{}`", store.root().display()))?,
    };
    let mut summary = summary.expect("nobody stops it");
    summary.passed_over = passed_over;
    if !global.quiet {
        output::note(&describe(&summary, started.elapsed().as_secs_f64()));
    }
    Ok(summary)
}

fn describe(summary: &Summary, seconds: f64) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let megabytes = summary.bytes as f64 / 1e6;
    let records = summary.tally.total_records();
    let _ = writeln!(
        text,
        "{} {}, {records} records, {megabytes:.1} MB in {seconds:.2} s ({:.1} MB/s, {:.0} records/s)",
        summary.files,
        if summary.files == 1 { "file" } else { "files" },
        megabytes / seconds.max(1e-9),
        records as f64 / seconds.max(1e-9),
    );
    let mut section = |title: &str, entries: Vec<(&str, u64)>| {
        for (index, (name, count)) in entries.into_iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let _ = writeln!(text, "  {title:<12}{count:>12}  {name}");
        }
    };
    section(
        "records",
        summary
            .tally
            .records
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect(),
    );
    section(
        "rows",
        summary
            .tally
            .rows
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect(),
    );
    section(
        "quarantined",
        summary
            .tally
            .quarantined
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .collect(),
    );
    section(
        "skipped",
        summary
            .tally
            .skipped
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect(),
    );
    if summary.tally.unredactable > 0 {
        section(
            "not written",
            vec![(
                "texts that could not be redacted",
                summary.tally.unredactable,
            )],
        );
    }
    if summary.already_ingested > 0 {
        section(
            "passed over",
            vec![(
                "files whose content the store has already",
                summary.already_ingested,
            )],
        );
    }
    if summary.passed_over > 0 {
        section(
            "passed over",
            vec![(
                "files that hold no records by their place",
                summary.passed_over,
            )],
        );
    }
    for (file, offset) in &summary.pending {
        let _ = writeln!(
            text,
            "  pending     `{}` ends in the middle of a record at byte {offset}: read when it has grown",
            visible(file)
        );
    }
    for (file, reason) in &summary.failed {
        let _ = writeln!(
            text,
            "  failed      `{}`: {}",
            visible(file),
            visible(reason)
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn explain(sources: &[Source], reading: &Reading) -> anyhow::Result<ExitCode> {
    const RECORDS: usize = 3;
    for source in sources {
        let explained = ingest::explain(source, reading.format, &reading.mapping, RECORDS)?;
        if explained.is_empty() {
            return Err(Error::Usage {
                message: format!("`{}` holds no record", source.name()),
                hint: None,
            }
            .into());
        }
        for (index, record) in explained.iter().enumerate() {
            let mut text = format!(
                "{} record {}: {}\n",
                visible(&source.name()),
                index + 1,
                record.format.unwrap_or("unknown")
            );
            let width = record
                .fields
                .iter()
                .map(|field| field.path.chars().count())
                .max()
                .unwrap_or(0)
                .min(60);
            for field in &record.fields {
                let column = if field.column == "-" {
                    "(not kept)"
                } else {
                    field.column
                };
                text.push_str(&format!("  {:<width$}  {column}", visible(&field.path)));
                if let Some(file) = &field.mapped_by {
                    text.push_str(&format!("  (by `{}`)", visible(&file.to_string_lossy())));
                }
                text.push('\n');
            }
            if let Some(reason) = &record.reason {
                text.push_str(&format!("  {}\n", visible(reason)));
            }
            if let Some(rest) = &record.left_over {
                text.push_str(&format!("  attributes  {}\n", visible(rest)));
            }
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::from(CLEAR))
}
