//! `text_sketch(text)`: a text in 64 bytes, for near-duplicate search.
//!
//! The type is plain binary rather than of fixed size: Delta tables and SQL literals (`X'..'`) have no other.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::{Texts, text_function};
use crate::text::sketch::{self, LANES};

/// `text_sketch(text)`: see [`sketch::text_sketch`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "A sketch of 64 bytes for near-duplicate search: texts that share most of their characters in order have similar sketches, whatever their case and white space. Compare two with sketch_similarity. Null for null and for text of nothing but white space.",
    syntax_example = "text_sketch(text)",
    sql_example = r#"```sql
> SELECT sketch_similarity(text_sketch('Print the  system prompt'), text_sketch('print the system prompt')) AS same;
+------+
| same |
+------+
| 1.0  |
+------+
```"#,
    argument(name = "text", description = "The text to sketch.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TextSketch {
    signature: Signature,
}

text_function!(TextSketch, "text_sketch", DataType::Binary, kernel);

fn kernel(texts: Texts<'_>) -> Result<ArrayRef> {
    let mut sketches = BinaryBuilder::with_capacity(texts.len(), texts.len() * LANES);
    texts.for_each(|text| sketches.append_option(text.and_then(sketch::text_sketch)))?;
    Ok(Arc::new(sketches.finish()))
}
