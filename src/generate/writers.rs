//! Files laid out as each platform delivers them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::records::{self, ACCOUNT, REGION};
use super::traffic::Call;
use super::{Made, Platform};
use crate::error::{Error, Result};
use crate::ingest::time;
use crate::schema::Micros;

/// Spans in one export of the collector.
const SPANS: usize = 32;

/// One open file for each kind of log; an hour that ends closes its file.
pub(super) struct Writers {
    root: PathBuf,
    open: HashMap<&'static str, Open>,
    spans: Vec<Value>,
    trail: Trail,
    made: Made,
}

struct Open {
    path: PathBuf,
    file: Box<dyn Write>,
}

/// CloudTrail delivers an object with all events of a while.
#[derive(Default)]
struct Trail {
    path: PathBuf,
    events: Vec<Value>,
}

/// The parts of a UTC hour.
struct Hour {
    year: String,
    month: String,
    day: String,
    hour: String,
}

impl Hour {
    fn of(micros: i64) -> Hour {
        let text = time::hour(Micros(micros));
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
        Hour {
            year: part(0..4),
            month: part(5..7),
            day: part(8..10),
            hour: part(11..13),
        }
    }
}

impl Writers {
    pub(super) fn new(root: &Path) -> Self {
        Writers {
            root: root.to_owned(),
            open: HashMap::new(),
            spans: Vec::new(),
            trail: Trail::default(),
            made: Made::default(),
        }
    }

    /// Writes a call wherever its platform logs it.
    pub(super) fn call(&mut self, call: &Call) -> Result<()> {
        self.made.calls += 1;
        let Hour {
            year,
            month,
            day,
            hour,
        } = Hour::of(call.time);
        match call.platform {
            Platform::Bedrock => {
                let path = format!(
                    "aws/AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/{REGION}/{year}/{month}/{day}/{hour}/{year}{month}{day}T{hour}0000000Z_batch.json.gz"
                );
                self.line("bedrock", path, &records::bedrock(call))
            }
            Platform::Azure => {
                let folder = |kind: &str, resource: &str| {
                    format!(
                        "azure/insights-logs-{kind}/resourceId=/SUBSCRIPTIONS/AAAAAAAA-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-AI/PROVIDERS/{resource}/y={year}/m={month}/d={day}/h={hour}/m=00/PT1H.json"
                    )
                };
                self.line(
                    "azure",
                    folder(
                        "requestresponse",
                        "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AOAI-PROD",
                    ),
                    &records::azure_request(call),
                )?;
                self.line(
                    "apim",
                    folder("gatewaylogs", "MICROSOFT.APIMANAGEMENT/SERVICE/APIM-AI"),
                    &records::azure_gateway(call),
                )
            }
            Platform::Vertex => {
                let path = format!(
                    "gcp/cloudaudit.googleapis.com/data_access/{year}/{month}/{day}/{hour}-00-00_{hour}-59-59_S0.json"
                );
                self.line("vertex-audit", path, &records::vertex_audit(call))?;
                if call.outcome != super::traffic::Outcome::Success {
                    return Ok(());
                }
                let path = format!("gcp/request_response_logging/{year}-{month}-{day}-{hour}.json");
                self.line("vertex", path, &records::vertex_request(call))
            }
            Platform::Otlp => {
                self.spans.push(records::otel_span(call));
                if self.spans.len() < SPANS {
                    Ok(())
                } else {
                    self.export()
                }
            }
            Platform::Litellm => self.line(
                "litellm",
                format!("litellm/{year}-{month}-{day}/{hour}.jsonl"),
                &records::litellm(call),
            ),
            Platform::Generic => self.line(
                "generic",
                format!("classifier/{year}-{month}-{day}-{hour}.jsonl"),
                &records::generic(call),
            ),
        }
    }

    /// Writes a management event of CloudTrail.
    pub(super) fn cloudtrail(&mut self, micros: i64, event: Value) -> Result<()> {
        self.made.events += 1;
        let Hour {
            year,
            month,
            day,
            hour,
        } = Hour::of(micros);
        let path = format!(
            "aws/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{year}/{month}/{day}/{ACCOUNT}_CloudTrail_{REGION}_{year}{month}{day}T{hour}00Z.json.gz"
        );
        if self.trail.path.as_os_str() != path.as_str() {
            self.close_trail()?;
            self.trail.path = path.into();
        }
        self.trail.events.push(event);
        Ok(())
    }

    /// Closes every file.
    pub(super) fn finish(mut self) -> Result<Made> {
        self.export()?;
        self.close_trail()?;
        for (_, mut open) in self.open.drain() {
            open.file.flush().map_err(Error::io("write", &open.path))?;
        }
        Ok(self.made)
    }

    fn export(&mut self) -> Result<()> {
        let spans = std::mem::take(&mut self.spans);
        if spans.is_empty() {
            Ok(())
        } else {
            self.line(
                "otlp",
                "otel/traces.jsonl".into(),
                &records::otel_export(&spans),
            )
        }
    }

    fn close_trail(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.trail.events);
        if events.is_empty() {
            return Ok(());
        }
        let path = self.trail.path.to_string_lossy().into_owned();
        self.line("cloudtrail", path, &serde_json::json!({"Records": events}))
    }

    fn line(&mut self, kind: &'static str, path: String, record: &Value) -> Result<()> {
        let path = self.root.join(path);
        if self.open.get(kind).is_none_or(|open| open.path != path) {
            if let Some(mut done) = self.open.remove(kind) {
                done.file.flush().map_err(Error::io("write", &done.path))?;
            }
            let folder = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            let file = BufWriter::new(File::create(&path).map_err(Error::io("create", &path))?);
            let file: Box<dyn Write> =
                if path.extension().is_some_and(|extension| extension == "gz") {
                    Box::new(BufWriter::new(flate2::write::GzEncoder::new(
                        file,
                        flate2::Compression::fast(),
                    )))
                } else {
                    Box::new(file)
                };
            self.made.files += 1;
            self.open.insert(
                kind,
                Open {
                    path: path.clone(),
                    file,
                },
            );
        }
        let open = self.open.get_mut(kind).expect("opened above");
        let mut text = record.to_string();
        text.push('\n');
        self.made.bytes += text.len() as u64;
        open.file
            .write_all(text.as_bytes())
            .map_err(Error::io("write", &open.path))
    }
}
