//! One batch of texts for the SQL functions: string layouts, dictionaries, scalars and roles, so that each function says only what it
//! makes of a verdict.

use std::cell::RefCell;

use arrow::array::{Array, ArrayRef, AsArray, StringArrayType, StringViewArray};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

use super::{Matcher, Recall, Role, Verdict};

/// Runs `rows` over the text column with the role of each row. Scalars in, scalar out; the values of a dictionary are looked at once.
pub(super) fn map_texts(
    args: &ScalarFunctionArgs,
    role: Option<&ColumnarValue>,
    rows: impl Fn(&dyn Array, &Roles<'_>) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let Some(text) = args.args.first() else {
        return internal_err!("no text argument");
    };
    let role = match role {
        None => Roles::One(Role::Unknown),
        Some(ColumnarValue::Scalar(role)) => Roles::One(role_of(role)),
        Some(ColumnarValue::Array(roles)) => Roles::Each(roles.as_string_view()),
    };
    match (text, &role) {
        (ColumnarValue::Scalar(text), Roles::One(_)) => {
            let result = over_dictionary(&text.to_array()?, &role, rows)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?))
        }
        (text, _) => Ok(ColumnarValue::Array(over_dictionary(
            &text.to_array(args.number_rows)?,
            &role,
            rows,
        )?)),
    }
}

/// Who wrote the texts: the same for all, or one for each row.
pub(super) enum Roles<'a> {
    One(Role),
    Each(&'a StringViewArray),
}

impl Roles<'_> {
    fn at(&self, row: usize) -> Role {
        match self {
            Self::One(role) => *role,
            Self::Each(roles) if roles.is_null(row) => Role::Unknown,
            Self::Each(roles) => Role::from_name(roles.value(row)),
        }
    }
}

fn role_of(role: &ScalarValue) -> Role {
    role.try_as_str()
        .flatten()
        .map_or(Role::Unknown, Role::from_name)
}

fn over_dictionary(
    array: &ArrayRef,
    roles: &Roles<'_>,
    rows: impl Fn(&dyn Array, &Roles<'_>) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return rows(array, roles);
    };
    let values = dictionary.values();
    if matches!(roles, Roles::Each(_)) || values.len() > array.len() {
        return rows(&cast(array, values.data_type())?, roles);
    }
    Ok(take(&rows(values, roles)?, dictionary.keys(), None)?)
}

/// Calls `row` for each text in order; the layout is chosen once.
pub(super) fn for_each_text<'a>(
    column: &'a dyn Array,
    row: impl FnMut(Option<&'a str>),
) -> Result<()> {
    fn all<'a>(column: impl StringArrayType<'a>, row: impl FnMut(Option<&'a str>)) -> Result<()> {
        column.iter().for_each(row);
        Ok(())
    }
    match column.data_type() {
        DataType::Utf8 => all(column.as_string::<i32>(), row),
        DataType::LargeUtf8 => all(column.as_string::<i64>(), row),
        DataType::Utf8View => all(column.as_string_view(), row),
        other => internal_err!("a text column has type {other}"),
    }
}

thread_local! {
    /// Outlives a batch: texts come again in the next.
    static RECALL: RefCell<Recall> = RefCell::new(Recall::new(Matcher::builtin()));
}

/// Scans each text and hands the verdict to `row`.
pub(super) fn scan_each(
    column: &dyn Array,
    roles: &Roles<'_>,
    mut row: impl FnMut(Option<&Verdict>),
) -> Result<()> {
    RECALL.with_borrow_mut(|recall| {
        let mut index = 0;
        for_each_text(column, |text| {
            let role = roles.at(index);
            index += 1;
            row(text.map(|text| recall.scan(text, role)));
        })
    })
}
