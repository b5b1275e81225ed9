//! A source format in, rows out; one file per format.

pub mod format;
pub mod json;
pub mod record;
pub mod time;

mod action_class;
mod address;
mod arn;
mod azure;
mod bedrock;
mod body;
mod cloudtrail;
mod envoy;
mod gcp_audit;
mod generic;
mod guardrail;
mod helicone;
mod kong;
mod langfuse;
mod litellm;
mod names;
mod otlp;
mod provider_audit;
mod tokens;
mod vertex;

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod testing;
