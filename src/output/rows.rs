//! Query results on their way out, batch by batch. Only a table is held back, since its columns need their width;
//! every other format leaves as it comes, whatever its size.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use super::{csv, json, table};
use crate::error::{Error, Result};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// One JSON array per result
    Json,
    /// One JSON object per line
    Ndjson,
    /// Comma-separated values with a header line
    Csv,
    /// A Parquet file, zstd compressed
    Parquet,
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of_path(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "txt" => Some(Format::Table),
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "csv" => Some(Format::Csv),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }

    /// The format where none is asked for: a table when a person watches, lines of JSON for a program.
    pub fn for_stdout() -> Format {
        if io::stdout().is_terminal() {
            Format::Table
        } else {
            Format::Ndjson
        }
    }
}

/// Where rows go.
pub enum Target {
    /// Standard output.
    Stdout,
    /// A regular file, put in its place only when it is whole.
    File(NamedTempFile, PathBuf),
    /// Something else that has a path: a pipe, a device.
    Device(File, PathBuf),
    /// Memory, for a pager.
    Memory(Vec<u8>),
}

impl Target {
    /// Opens the file for writing. A regular file keeps its former content until [`Target::finish`].
    ///
    /// # Errors
    /// When the file or its folder cannot be written.
    pub fn create(path: &Path) -> Result<Target> {
        if path.exists() && !path.is_file() {
            let file = File::options()
                .write(true)
                .open(path)
                .map_err(Error::io("write", path))?;
            return Ok(Target::Device(file, path.to_path_buf()));
        }
        // The file that a link points to is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".inferwatch-output-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder)
            .map_err(Error::io("write", &path))?;
        Ok(Target::File(file, path))
    }

    /// Puts a file in its place.
    ///
    /// # Errors
    /// When the file cannot be written or moved.
    pub fn finish(mut self) -> Result<()> {
        let (action, path) = ("write", self.path());
        self.flush().map_err(Error::io(action, &path))?;
        if let Target::File(file, path) = self {
            file.persist(&path)
                .map_err(|error| Error::io(action, &path)(error.error))?;
        }
        Ok(())
    }

    /// The format that its name asks for.
    pub fn format(&self) -> Option<Format> {
        match self {
            Target::File(_, path) | Target::Device(_, path) => Format::of_path(path),
            Target::Stdout | Target::Memory(_) => None,
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Target::File(_, path) | Target::Device(_, path) => path.clone(),
            Target::Stdout | Target::Memory(_) => PathBuf::from("standard output"),
        }
    }

    fn is_terminal(&self) -> bool {
        match self {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Device(file, _) => file.is_terminal(),
            Target::File(..) => false,
            // A pager shows it on the terminal.
            Target::Memory(_) => true,
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Stdout => super::Stdout.write(bytes),
            Target::File(file, _) => file.write(bytes),
            Target::Device(file, _) => file.write(bytes),
            Target::Memory(memory) => memory.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Stdout => super::Stdout.flush(),
            Target::File(file, _) => file.flush(),
            Target::Device(file, _) => file.flush(),
            Target::Memory(_) => Ok(()),
        }
    }
}

/// Writes the batches of one result.
pub struct RowSink<'a> {
    schema: SchemaRef,
    rows: usize,
    state: State<'a>,
}

enum State<'a> {
    Table {
        batches: Vec<RecordBatch>,
        style: table::Style,
        max_rows: usize,
        is_cut: bool,
        out: &'a mut Target,
    },
    Json {
        buffer: Vec<u8>,
        /// Around the rows, between them, and at the end.
        marks: [&'static [u8]; 4],
        out: &'a mut Target,
    },
    Csv {
        buffer: Vec<u8>,
        escaped: bool,
        out: &'a mut Target,
    },
    Parquet(Box<ArrowWriter<BufWriter<&'a mut Target>>>),
}

/// What a finished result was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows written.
    pub rows: usize,
    /// Whether there were more rows than a table shows.
    pub is_cut: bool,
}

impl<'a> RowSink<'a> {
    /// Begins a result. A table shows at most `max_rows` rows, all of them when that is zero.
    ///
    /// # Errors
    /// When the beginning cannot be written, or Parquet cannot hold the schema.
    pub fn new(
        format: Format,
        schema: SchemaRef,
        style: table::Style,
        max_rows: usize,
        out: &'a mut Target,
    ) -> Result<RowSink<'a>> {
        let state = match format {
            Format::Table => State::Table {
                batches: Vec::new(),
                style,
                max_rows,
                is_cut: false,
                out,
            },
            Format::Json => State::Json {
                buffer: Vec::new(),
                marks: [b"[\n", b",\n", b"\n]\n", b"[]\n"],
                out,
            },
            Format::Ndjson => State::Json {
                buffer: Vec::new(),
                marks: [b"", b"\n", b"\n", b""],
                out,
            },
            Format::Csv => {
                let escaped = out.is_terminal();
                let mut buffer = Vec::new();
                csv::write_header(&schema, escaped, &mut buffer);
                State::Csv {
                    buffer,
                    escaped,
                    out,
                }
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                State::Parquet(Box::new(ArrowWriter::try_new(
                    BufWriter::new(out),
                    Arc::clone(&schema),
                    Some(properties),
                )?))
            }
        };
        Ok(RowSink {
            schema,
            rows: 0,
            state,
        })
    }

    /// Writes a batch. After `false` no more are wanted.
    ///
    /// # Errors
    /// When a value has no form in the format, or nothing can be written.
    pub fn write(&mut self, batch: RecordBatch) -> Result<bool> {
        match &mut self.state {
            State::Table {
                batches,
                max_rows,
                is_cut,
                ..
            } => {
                let wanted = match *max_rows {
                    0 => batch.num_rows(),
                    limit => (limit - self.rows).min(batch.num_rows()),
                };
                *is_cut = wanted < batch.num_rows();
                self.rows += wanted;
                batches.push(batch.slice(0, wanted));
                return Ok(!*is_cut);
            }
            State::Json { buffer, marks, out } => {
                let rows = json::RowWriter::new(&batch)?;
                for row in 0..batch.num_rows() {
                    buffer.extend_from_slice(marks[usize::from(self.rows + row > 0)]);
                    rows.write(row, buffer)?;
                }
                send(buffer, out)?;
            }
            State::Csv {
                buffer,
                escaped,
                out,
            } => {
                csv::write_rows(&batch, *escaped, buffer)?;
                send(buffer, out)?;
            }
            State::Parquet(writer) => writer.write(&batch)?,
        }
        self.rows += batch.num_rows();
        Ok(true)
    }

    /// Ends the result.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(self) -> Result<Written> {
        let mut written = Written {
            rows: self.rows,
            is_cut: false,
        };
        match self.state {
            State::Table {
                batches,
                style,
                is_cut,
                out,
                ..
            } => {
                written.is_cut = is_cut;
                let mut text = table::render(&self.schema, &batches, style)?.into_bytes();
                send(&mut text, out)?;
            }
            State::Json {
                mut buffer,
                marks,
                out,
            } => {
                buffer.extend_from_slice(marks[if self.rows > 0 { 2 } else { 3 }]);
                send(&mut buffer, out)?;
            }
            State::Csv {
                mut buffer, out, ..
            } => send(&mut buffer, out)?,
            State::Parquet(writer) => {
                writer.close()?;
            }
        }
        Ok(written)
    }
}

fn send(buffer: &mut Vec<u8>, out: &mut Target) -> Result<()> {
    out.write_all(buffer)
        .and_then(|()| out.flush())
        .map_err(|source| Error::Io {
            action: "write",
            path: out.path(),
            source,
        })?;
    buffer.clear();
    Ok(())
}
