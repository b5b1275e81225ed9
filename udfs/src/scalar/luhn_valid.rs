//! `luhn_valid(text)`: the check digit of card numbers.

use arrow::datatypes::DataType;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::text_function;
use crate::text::luhn;

/// `luhn_valid(text)`: see [`luhn::luhn_valid`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "True when the text is a number, single spaces or hyphens between digits allowed, whose last digit is its Luhn check digit, as in payment card numbers. Null for null.",
    syntax_example = "luhn_valid(text)",
    sql_example = r#"```sql
> SELECT luhn_valid('4111 1111 1111 1111') AS valid;
+-------+
| valid |
+-------+
| true  |
+-------+
```"#,
    argument(name = "text", description = "The number as text.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LuhnValid {
    signature: Signature,
}

text_function!(LuhnValid, "luhn_valid", DataType::Boolean, |texts| texts
    .to_boolean(luhn::luhn_valid));
