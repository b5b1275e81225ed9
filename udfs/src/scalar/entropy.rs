//! `entropy(text)`: how varied the characters of a text are.

use arrow::datatypes::DataType;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::text_function;
use crate::text::entropy::text_entropy;

/// `entropy(text)`: see [`text_entropy`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "Shannon entropy of the characters of a text, in bits per character. English prose has about 4.2, hexadecimal at most 4, base64 close to 6. 0 for an empty text; null for null.",
    syntax_example = "entropy(text)",
    sql_example = r#"```sql
> SELECT entropy('aabb') AS bits;
+------+
| bits |
+------+
| 1.0  |
+------+
```"#,
    argument(name = "text", description = "The text to measure.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TextEntropy {
    signature: Signature,
}

text_function!(TextEntropy, "entropy", DataType::Float64, |texts| texts
    .to_float64(text_entropy));
