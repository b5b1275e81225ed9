//! `redact(text)`: text without personal data and secrets.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::{Texts, text_function};
use crate::pii::{self, Scratch};

/// `redact(text)`: see [`pii::redact`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "The text with personal data and secrets replaced by markers such as [EMAIL], [PHONE], [SSN], [PAYMENT_CARD], [IBAN], [API_KEY:aws], [JWT] and [PRIVATE_KEY], exactly as at ingest. Redacting twice changes nothing. Null for null.",
    syntax_example = "redact(text)",
    sql_example = r#"```sql
> SELECT redact('mail ada@example.org, card 4111 1111 1111 1111') AS text;
+-----------------------------------+
| text                              |
+-----------------------------------+
| mail [EMAIL], card [PAYMENT_CARD] |
+-----------------------------------+
```"#,
    argument(name = "text", description = "The text to redact.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Redact {
    signature: Signature,
}

text_function!(Redact, "redact", DataType::Utf8View, kernel);

fn kernel(texts: Texts<'_>) -> Result<ArrayRef> {
    let mut redacted = StringViewBuilder::with_capacity(texts.len());
    let (mut scratch, mut out) = (Scratch::default(), String::new());
    texts.for_each(|text| match text {
        Some(text) => {
            pii::redact(text, &mut scratch, &mut out);
            redacted.append_value(&out);
        }
        None => redacted.append_null(),
    })?;
    Ok(Arc::new(redacted.finish()))
}
