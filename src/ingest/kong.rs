//! To be written.

use super::json::Value;
use super::record::{Reject, Rows};

/// Whether a record is of this format.
pub(super) fn recognises(_record: Value<'_>) -> bool {
    false
}

/// Decodes one record.
pub(super) fn decode<'a>(_record: Value<'a>, _rows: &mut Rows<'a>) -> Result<(), Reject> {
    Err(Reject::Unknown)
}
