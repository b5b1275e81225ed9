//! The claims, in the order in which data travels. Each takes bytes and panics where it does not hold.

mod injection;
mod log;
mod records;
mod redaction;
mod sources;
mod versioned;

/// A target: its name, which is that of its corpus, and what it claims.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 18] = [
    ("bedrock", records::bedrock),
    ("cloudtrail", records::cloudtrail),
    ("azure", records::azure),
    ("google", records::google),
    ("otlp", records::otlp),
    ("otlp_protobuf", records::otlp_protobuf),
    ("litellm", records::litellm),
    ("gateways", records::gateways),
    ("generic", records::generic),
    ("access_log", records::access_log),
    ("envelopes", sources::envelopes),
    ("sources", sources::sources),
    ("redaction", redaction::redaction),
    ("injection", injection::injection),
    ("rule", versioned::rule),
    ("tier", versioned::tier),
    ("panel", versioned::panel),
    ("delta_log", log::delta_log),
];

/// Holds an input against the claim of a target.
///
/// # Panics
/// When the claim does not hold, or there is no target of that name.
pub fn hold(target: &str, data: &[u8]) {
    let (_, claim) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target of that name");
    claim(data);
}
