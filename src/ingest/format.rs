//! The formats: their names, how a record is recognised by what is in it, and which decoder reads it.

use super::generic::Mapping;
use super::json::Value;
use super::record::{Reject, Rows};

/// A log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Bedrock model invocation log.
    BedrockInvocation,
    /// CloudTrail event.
    CloudTrail,
    /// Azure resource log, activity log or API Management gateway log; also as Log Analytics exports it.
    Azure,
    /// Google Cloud audit log entry.
    GcpAudit,
    /// Vertex AI request-response log.
    VertexRequestResponse,
    /// OpenTelemetry OTLP/JSON: spans and logs.
    Otlp,
    /// LiteLLM: standard payload, spend log or audit record.
    LiteLlm,
    /// Langfuse observation.
    Langfuse,
    /// Helicone export.
    Helicone,
    /// Kong AI gateway log.
    Kong,
    /// Access log of Envoy's AI gateway.
    Envoy,
    /// Request that went through Cloudflare's AI gateway.
    Cloudflare,
    /// Audit record of a model provider's organisation.
    ProviderAudit,
    /// Access log of a web server in front of a model API.
    AccessLog,
    /// Any record with a time and something about a model.
    Generic,
}

impl Format {
    /// Every format, in the order in which records are tried.
    pub const ALL: [Format; 15] = [
        Format::Otlp,
        Format::BedrockInvocation,
        Format::CloudTrail,
        Format::GcpAudit,
        Format::Azure,
        Format::VertexRequestResponse,
        Format::LiteLlm,
        Format::Langfuse,
        Format::Kong,
        Format::Envoy,
        Format::Cloudflare,
        Format::ProviderAudit,
        Format::Helicone,
        Format::AccessLog,
        Format::Generic,
    ];

    /// The name on the command line and in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Format::BedrockInvocation => "bedrock",
            Format::CloudTrail => "cloudtrail",
            Format::Azure => "azure",
            Format::GcpAudit => "gcp-audit",
            Format::VertexRequestResponse => "vertex",
            Format::Otlp => "otlp",
            Format::LiteLlm => "litellm",
            Format::Langfuse => "langfuse",
            Format::Helicone => "helicone",
            Format::Kong => "kong",
            Format::Envoy => "envoy",
            Format::Cloudflare => "cloudflare",
            Format::ProviderAudit => "provider-audit",
            Format::AccessLog => "access-log",
            Format::Generic => "generic",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of a record, by what is in it.
    pub fn sniff(record: Value<'_>, mapping: &Mapping) -> Option<Format> {
        let format = Format::ALL
            .into_iter()
            .find(|format| format.recognises(record, mapping))?;
        // What OpenTelemetry's names say of a call is more than a server's line does.
        if format == Format::AccessLog && super::otlp::is_flat(record) {
            return Some(Format::Generic);
        }
        Some(format)
    }

    fn recognises(self, record: Value<'_>, mapping: &Mapping) -> bool {
        match self {
            Format::BedrockInvocation => super::bedrock::recognises(record),
            Format::CloudTrail => super::cloudtrail::recognises(record),
            Format::Azure => super::azure::recognises(record),
            Format::GcpAudit => super::gcp_audit::recognises(record),
            Format::VertexRequestResponse => super::vertex::recognises(record),
            Format::Otlp => super::otlp::recognises(record),
            Format::LiteLlm => super::litellm::recognises(record),
            Format::Langfuse => super::langfuse::recognises(record),
            Format::Helicone => super::helicone::recognises(record),
            Format::Kong => super::kong::recognises(record),
            Format::Envoy => super::envoy::recognises(record),
            Format::Cloudflare => super::cloudflare::recognises(record),
            Format::ProviderAudit => super::provider_audit::recognises(record),
            Format::AccessLog => super::access_log::recognises(record),
            Format::Generic => super::generic::recognises(record, mapping),
        }
    }

    /// Decodes one record into rows. The mapping is for records of no known format.
    ///
    /// # Errors
    /// When the record as a whole cannot be read.
    pub fn decode<'a>(
        self,
        record: Value<'a>,
        mapping: &Mapping,
        rows: &mut Rows<'a>,
    ) -> Result<(), Reject> {
        match self {
            Format::BedrockInvocation => super::bedrock::decode(record, rows),
            Format::CloudTrail => super::cloudtrail::decode(record, rows),
            Format::Azure => super::azure::decode(record, rows),
            Format::GcpAudit => super::gcp_audit::decode(record, rows),
            Format::VertexRequestResponse => super::vertex::decode(record, rows),
            Format::Otlp => super::otlp::decode(record, rows),
            Format::LiteLlm => super::litellm::decode(record, rows),
            Format::Langfuse => super::langfuse::decode(record, rows),
            Format::Helicone => super::helicone::decode(record, rows),
            Format::Kong => super::kong::decode(record, rows),
            Format::Envoy => super::envoy::decode(record, rows),
            Format::Cloudflare => super::cloudflare::decode(record, rows),
            Format::ProviderAudit => super::provider_audit::decode(record, rows),
            Format::AccessLog => super::access_log::decode(record, rows),
            Format::Generic => super::generic::decode(record, mapping, rows),
        }
    }
}
