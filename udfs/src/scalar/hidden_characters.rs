//! `hidden_characters(text)`: the carriers of smuggled instructions.

use arrow::datatypes::DataType;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::text_function;
use crate::text::hidden;

/// `hidden_characters(text)`: see [`hidden::hidden_characters`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "Number of characters that a reader does not see but a model reads: Unicode tags, zero-width characters, runs of variation selectors, controls of text direction. Lawful uses (emoji, joiners of Persian and Indic scripts, a leading byte order mark) are not counted. Null for null.",
    syntax_example = "hidden_characters(text)",
    sql_example = r#"```sql
> SELECT hidden_characters('pass' || chr(8203) || 'word') AS hidden;
+--------+
| hidden |
+--------+
| 1      |
+--------+
```"#,
    argument(name = "text", description = "The text to search.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct HiddenCharacters {
    signature: Signature,
}

text_function!(
    HiddenCharacters,
    "hidden_characters",
    DataType::Int64,
    |texts| texts.to_int64(hidden::hidden_characters)
);
