//! A file that lines are appended to: our own JSON, or OCSF Detection Findings. A delivery counts once it is on the
//! disk. The file is opened anew each time, so that it can be rotated.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Message, ocsf};
use crate::catalog::Section;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::settings;

/// See the module's documentation.
#[derive(Debug)]
pub struct Lines {
    pub(super) path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ndjson,
    Ocsf,
}

impl Lines {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Lines> {
        let path = section.required("path", |section, key| settings::path(section, key, folder));
        let format = section.choice(
            "format",
            &[("ndjson", Format::Ndjson), ("ocsf", Format::Ocsf)],
        );
        Some(Lines {
            path: path?,
            format: format.unwrap_or(Format::Ndjson),
        })
    }

    pub(super) fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let mut lines = String::new();
        for told in &message.findings {
            let line = match self.format {
                Format::Ndjson => told.json(),
                Format::Ocsf => ocsf::detection_finding(told, message.now),
            };
            // Line ends of texts are escaped in JSON, so a finding is a line whatever is in it.
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        self.append(lines.as_bytes()).map_err(|error| {
            let why = format!("`{}`: {error}", self.path.display());
            match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::NotADirectory => Failure::settings(why),
                _ => Failure::unreachable(why),
            }
        })?;
        Ok(Answer::plain(format!("{} bytes on the disk", lines.len())))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&self.path)?;
        // A crash may have cut off the last line, which comes again as a whole.
        if !ends_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.write_all(bytes)?;
        file.sync_data()
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let is_regular = file.metadata()?.is_file();
    if !is_regular || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
