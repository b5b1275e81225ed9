//! Functions of one row.

mod chi_squared_p;
mod entropy;
mod hidden_characters;
mod ip_prefix;
mod ip_valid;
mod longest_encoded_run;
mod luhn_valid;
mod number_lists;
mod pii_kinds;
mod redact;
mod shannon_bits;
mod sketch_similarity;
mod text_column;
mod text_sketch;
mod url_hosts;
mod wilson;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub use chi_squared_p::ChiSquaredP;
pub use entropy::TextEntropy;
pub use hidden_characters::HiddenCharacters;
pub use ip_prefix::IpPrefix;
pub use ip_valid::IpValid;
pub use longest_encoded_run::LongestEncodedRun;
pub use luhn_valid::LuhnValid;
pub use pii_kinds::PiiKinds;
pub use redact::Redact;
pub use shannon_bits::ShannonBits;
pub use sketch_similarity::SketchSimilarity;
pub use text_sketch::TextSketch;
pub use url_hosts::UrlHosts;
pub use wilson::{WilsonLower, WilsonUpper};

/// The statistical scalar functions of this crate.
pub fn statistics_udfs() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ChiSquaredP::default().into()),
        Arc::new(ShannonBits::default().into()),
        Arc::new(WilsonLower::default().into()),
        Arc::new(WilsonUpper::default().into()),
    ]
}

/// The functions of text of this crate.
pub fn text_udfs() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(HiddenCharacters::default().into()),
        Arc::new(IpPrefix::default().into()),
        Arc::new(IpValid::default().into()),
        Arc::new(LongestEncodedRun::default().into()),
        Arc::new(LuhnValid::default().into()),
        Arc::new(PiiKinds::default().into()),
        Arc::new(Redact::default().into()),
        Arc::new(SketchSimilarity::default().into()),
        Arc::new(TextEntropy::default().into()),
        Arc::new(TextSketch::default().into()),
        Arc::new(UrlHosts::default().into()),
    ]
}
