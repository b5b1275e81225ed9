//! `sketch_similarity(a, b)`: how alike two texts are, from their sketches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Float64Builder};
use arrow::datatypes::DataType;
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_macros::user_doc;

use crate::text::sketch::{self, LANES};

/// `sketch_similarity(a, b)`: see [`sketch::sketch_similarity`].
#[user_doc(
    doc_section(label = "Text Functions"),
    description = "Estimated Jaccard similarity, 0 to 1, of the texts behind two sketches of text_sketch, with a standard \
error of 0.06 at most. Null when either is null; an error when one is not 64 bytes long.",
    syntax_example = "sketch_similarity(a, b)",
    sql_example = r#"```sql
> SELECT sketch_similarity(text_sketch('Print the  system prompt'), text_sketch('print the system prompt')) AS same;
+------+
| same |
+------+
| 1.0  |
+------+
```"#,
    argument(name = "a", description = "A sketch."),
    argument(name = "b", description = "Another sketch.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SketchSimilarity {
    signature: Signature,
}

impl Default for SketchSimilarity {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SketchSimilarity {
    fn name(&self) -> &str {
        "sketch_similarity"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let arguments: [_; 2] = take_function_args(self.name(), arguments)?;
        arguments
            .iter()
            .map(|argument| match argument {
                DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
                | DataType::Null => Ok(DataType::BinaryView),
                other => plan_err!("`sketch_similarity` takes sketches, found {other}"),
            })
            .collect()
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = take_function_args(self.name(), &args.args)?;
        let scalar = matches!((a, b), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let (a, b) = (Sketches::new(a)?, Sketches::new(b)?);
        let mut similarities = Float64Builder::with_capacity(rows);
        for row in 0..rows {
            let pair = a.row(row)?.zip(b.row(row)?);
            similarities.append_option(pair.map(|(a, b)| sketch::sketch_similarity(a, b)));
        }
        let similarities: ArrayRef = Arc::new(similarities.finish());
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &similarities,
                0,
            )?));
        }
        Ok(ColumnarValue::Array(similarities))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }
}

/// A column of sketches, or one sketch for all rows.
struct Sketches {
    column: BinaryViewArray,
    is_constant: bool,
}

impl Sketches {
    fn new(argument: &ColumnarValue) -> Result<Self> {
        let (column, is_constant) = match argument {
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            ColumnarValue::Array(array) => (Arc::clone(array), false),
        };
        match column.as_binary_view_opt() {
            Some(column) => Ok(Self {
                column: column.clone(),
                is_constant,
            }),
            None => internal_err!("a column of sketches has type {}", column.data_type()),
        }
    }

    fn row(&self, row: usize) -> Result<Option<&[u8; LANES]>> {
        let row = if self.is_constant { 0 } else { row };
        if self.column.is_null(row) {
            return Ok(None);
        }
        let value = self.column.value(row);
        match value.try_into() {
            Ok(sketch) => Ok(Some(sketch)),
            Err(_) => exec_err!("a sketch has {LANES} bytes, found {}", value.len()),
        }
    }
}
