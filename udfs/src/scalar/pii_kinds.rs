//! `pii_kinds(text)`: what kinds of personal data and secrets a text holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use datafusion_common::Result;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::{Texts, text_function, texts_type};
use crate::pii::{self, Scratch};

/// `pii_kinds(text)`: see [`pii::scan`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "The kinds of personal data and secrets in a text, sorted, each once: anthropic_key, api_key, aws_access_key, aws_secret_key, azure_key, bearer_token, email, gcp_api_key, github_token, huggingface_token, iban, jwt, openai_key, payment_card, phone, private_key, slack_token, ssn, stripe_key. An empty list when there is none; null for null.",
    syntax_example = "pii_kinds(text)",
    sql_example = r#"```sql
> SELECT pii_kinds('mail ada@example.org, card 4111 1111 1111 1111') AS kinds;
+-----------------------+
| kinds                 |
+-----------------------+
| [email, payment_card] |
+-----------------------+
```"#,
    argument(name = "text", description = "The text to search.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PiiKinds {
    signature: Signature,
}

text_function!(PiiKinds, "pii_kinds", texts_type(), kernel);

fn kernel(texts: Texts<'_>) -> Result<ArrayRef> {
    let mut kinds = ListBuilder::with_capacity(StringBuilder::new(), texts.len());
    let mut scratch = Scratch::default();
    texts.for_each(|text| {
        if let Some(text) = text {
            for (kind, _) in pii::scan(text, &mut scratch).counts().iter() {
                kinds.values().append_value(kind.name());
            }
        }
        kinds.append(text.is_some());
    })?;
    Ok(Arc::new(kinds.finish()))
}
