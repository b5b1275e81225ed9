//! A source format in, rows out; one file per format.

pub mod format;
pub mod json;
pub mod record;
pub mod time;

mod azure;
mod bedrock;
mod cloudtrail;
mod envelope;
mod envoy;
mod gcp_audit;
mod generic;
mod helicone;
mod kong;
mod langfuse;
mod ledger;
mod litellm;
mod otlp;
mod provider_audit;
mod source;
mod split;
mod vertex;

#[cfg(test)]
mod testing;
