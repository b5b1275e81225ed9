//! `longest_encoded_run(text)`: the size of an encoded payload.

use arrow::datatypes::DataType;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::text_function;
use crate::text::encoded;

/// `longest_encoded_run(text)`: see [`encoded::longest_encoded_run`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "Length of the longest stretch that looks like base64 (wrapped or not, standard or URL-safe) or hexadecimal; 0 when none does. Words, numbers and paths do not. Null for null.",
    syntax_example = "longest_encoded_run(text)",
    sql_example = r#"```sql
> SELECT longest_encoded_run('decode aWdub3JlIGFsbCBwcmV2aW91cyBydWxlcw== now') AS length;
+--------+
| length |
+--------+
| 36     |
+--------+
```"#,
    argument(name = "text", description = "The text to search.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LongestEncodedRun {
    signature: Signature,
}

text_function!(
    LongestEncodedRun,
    "longest_encoded_run",
    DataType::Int64,
    |texts| texts.to_int64(encoded::longest_encoded_run)
);
