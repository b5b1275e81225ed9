//! From a column's kind to its Rust cell, its Arrow type and its builder.
//!
//! A kind is a marker such as [`Text`] or [`Int`]; [`Required<Text>`](Required) is the same without nulls. The table
//! macro writes a row struct with `Kind::Cell<'a>` fields, so that decoders borrow from the log line, and a builder
//! with `Kind::Builder` fields, so that no cell is boxed on its way into Arrow.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder,
    Int64Builder, LargeStringBuilder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
    StructBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// Microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// What a column holds.
pub trait Kind {
    /// One cell of a row, borrowing from the log line where it can.
    type Cell<'a>: Clone + Default + std::fmt::Debug + PartialEq;
    /// What collects the cells.
    type Builder: ArrayBuilder;
    /// Whether a cell may be null.
    const NULLABLE: bool = true;
    /// The Arrow type.
    fn data_type() -> DataType;
    /// An empty builder.
    fn builder() -> Self::Builder;
    /// Adds a cell.
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder);
}

/// A kind without nulls.
#[derive(Debug)]
pub struct Required<K>(PhantomData<K>);

macro_rules! scalar_kinds {
    ($( $(#[doc = $doc:literal])+ $kind:ident: $bare:ty, $builder:ty, $data_type:expr, $new:expr, |$value:ident| $inner:expr; )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $kind;

        impl Kind for $kind {
            type Cell<'a> = Option<$bare>;
            type Builder = $builder;
            fn data_type() -> DataType {
                $data_type
            }
            fn builder() -> Self::Builder {
                $new
            }
            fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
                match cell {
                    Some($value) => builder.append_value($inner),
                    None => builder.append_null(),
                }
            }
        }

        impl Kind for Required<$kind> {
            type Cell<'a> = $bare;
            type Builder = $builder;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                $data_type
            }
            fn builder() -> Self::Builder {
                $new
            }
            fn append($value: &Self::Cell<'_>, builder: &mut Self::Builder) {
                builder.append_value($inner);
            }
        }
    )+};
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

scalar_kinds! {
    /// A point in time.
    Time: Micros, TimestampMicrosecondBuilder, utc(), TimestampMicrosecondBuilder::new().with_timezone("UTC"), |time| time.0;
    /// Short text.
    Text: &'a str, StringBuilder, DataType::Utf8, StringBuilder::new(), |text| text;
    /// Text of any length, in columns whose batch may pass 2 GiB.
    LargeText: &'a str, LargeStringBuilder, DataType::LargeUtf8, LargeStringBuilder::new(), |text| text;
    /// A 64-bit whole number.
    Int: i64, Int64Builder, DataType::Int64, Int64Builder::new(), |number| *number;
    /// A 32-bit whole number.
    Int32: i32, Int32Builder, DataType::Int32, Int32Builder::new(), |number| *number;
    /// A double.
    Float: f64, Float64Builder, DataType::Float64, Float64Builder::new(), |number| *number;
    /// True or false.
    Bool: bool, BooleanBuilder, DataType::Boolean, BooleanBuilder::new(), |flag| *flag;
}

/// A keyed hash. Variable-size binary, as Delta has no other kind.
#[derive(Debug)]
pub struct Hash;

impl Kind for Hash {
    type Cell<'a> = Option<[u8; 32]>;
    type Builder = BinaryBuilder;
    fn data_type() -> DataType {
        DataType::Binary
    }
    fn builder() -> Self::Builder {
        BinaryBuilder::new()
    }
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
        builder.append_option(cell.as_ref());
    }
}

/// A near-duplicate sketch of a text.
#[derive(Debug)]
pub struct Sketch;

impl Kind for Sketch {
    // Boxed: sixty-four bytes are much for a row that seldom has one, and arrays of that size have no `Default`.
    type Cell<'a> = Option<Box<[u8]>>;
    type Builder = BinaryBuilder;
    fn data_type() -> DataType {
        DataType::Binary
    }
    fn builder() -> Self::Builder {
        BinaryBuilder::new()
    }
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
        builder.append_option(cell.as_ref());
    }
}

fn list_element(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", data_type, true))
}

/// A list of short texts; an empty one is null: nothing was logged.
#[derive(Debug)]
pub struct Texts;

impl Kind for Texts {
    type Cell<'a> = Vec<&'a str>;
    type Builder = ListBuilder<StringBuilder>;
    fn data_type() -> DataType {
        DataType::List(list_element(DataType::Utf8))
    }
    fn builder() -> Self::Builder {
        ListBuilder::new(StringBuilder::new()).with_field(list_element(DataType::Utf8))
    }
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
        for text in cell {
            builder.values().append_value(text);
        }
        builder.append(!cell.is_empty());
    }
}

/// Key and value pairs; an empty map is null: nothing was logged.
#[derive(Debug)]
pub struct Tags;

impl Kind for Tags {
    type Cell<'a> = Vec<(&'a str, &'a str)>;
    type Builder = MapBuilder<StringBuilder, StringBuilder>;
    fn data_type() -> DataType {
        let entry = vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ];
        DataType::Map(
            Arc::new(Field::new(
                "key_value",
                DataType::Struct(entry.into()),
                false,
            )),
            false,
        )
    }
    fn builder() -> Self::Builder {
        let names = MapFieldNames {
            entry: "key_value".into(),
            key: "key".into(),
            value: "value".into(),
        };
        MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
    }
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
        for (key, value) in cell {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder
            .append(!cell.is_empty())
            .expect("a key for each value");
    }
}

/// The fields of a nested row: what the element macro writes.
pub trait Element {
    /// The element itself.
    type Cell<'a>: Clone + std::fmt::Debug + PartialEq;
    /// The fields, in order.
    fn fields() -> Fields;
    /// An empty builder.
    fn builder() -> StructBuilder;
    /// Adds one element.
    fn append(cell: &Self::Cell<'_>, builder: &mut StructBuilder);
}

/// A list of nested rows; an empty one is null: nothing was found.
#[derive(Debug)]
pub struct List<E>(PhantomData<E>);

impl<E: Element> Kind for List<E> {
    type Cell<'a> = Vec<E::Cell<'a>>;
    type Builder = ListBuilder<StructBuilder>;
    fn data_type() -> DataType {
        DataType::List(list_element(DataType::Struct(E::fields())))
    }
    fn builder() -> Self::Builder {
        ListBuilder::new(E::builder()).with_field(list_element(DataType::Struct(E::fields())))
    }
    fn append(cell: &Self::Cell<'_>, builder: &mut Self::Builder) {
        for nested in cell {
            E::append(nested, builder.values());
        }
        builder.append(!cell.is_empty());
    }
}

/// Finishes a builder as one column.
pub(super) fn finish<B: ArrayBuilder>(builder: &mut B) -> ArrayRef {
    ArrayBuilder::finish(builder)
}

/// Declares a table: the row struct, its schema, its builder. See the module's documentation.
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])+
        $row:ident, $builder:ident {
            $( $(#[doc = $doc:literal])+ $column:ident : $kind:ty, )+
        }
    ) => {
        $(#[doc = $table_doc])+
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $row<'a> {
            $( $(#[doc = $doc])+ pub $column: <$kind as $crate::schema::cell::Kind>::Cell<'a>, )+
            /// Every table borrows, also one whose columns all own.
            pub _borrowed: std::marker::PhantomData<&'a ()>,
        }

        impl $row<'_> {
            /// Column name and description, in order.
            pub const DESCRIPTIONS: &'static [(&'static str, &'static str)] =
                &[$( (stringify!($column), concat!($($doc),+)), )+];

            /// The Arrow schema.
            pub fn schema() -> arrow::datatypes::SchemaRef {
                static SCHEMA: std::sync::LazyLock<arrow::datatypes::SchemaRef> = std::sync::LazyLock::new(|| {
                    std::sync::Arc::new(arrow::datatypes::Schema::new(vec![$(
                        arrow::datatypes::Field::new(
                            stringify!($column),
                            <$kind as $crate::schema::cell::Kind>::data_type(),
                            <$kind as $crate::schema::cell::Kind>::NULLABLE,
                        ),
                    )+]))
                });
                std::sync::Arc::clone(&SCHEMA)
            }
        }

        #[doc = concat!("Collects [`", stringify!($row), "`] rows into record batches.")]
        #[derive(Debug)]
        pub struct $builder {
            rows: usize,
            $( $column: <$kind as $crate::schema::cell::Kind>::Builder, )+
        }

        impl Default for $builder {
            fn default() -> Self {
                $builder { rows: 0, $( $column: <$kind as $crate::schema::cell::Kind>::builder(), )+ }
            }
        }

        impl $builder {
            /// Adds one row.
            pub fn append(&mut self, row: &$row<'_>) {
                self.rows += 1;
                $( <$kind as $crate::schema::cell::Kind>::append(&row.$column, &mut self.$column); )+
            }

            /// Rows collected since the last [`Self::finish`].
            pub fn len(&self) -> usize {
                self.rows
            }

            /// Whether no row was collected.
            pub fn is_empty(&self) -> bool {
                self.rows == 0
            }

            /// The rows as a batch; the builder is empty again.
            pub fn finish(&mut self) -> arrow::array::RecordBatch {
                self.rows = 0;
                arrow::array::RecordBatch::try_new(
                    $row::schema(),
                    vec![$( $crate::schema::cell::finish(&mut self.$column), )+],
                )
                .expect("the builders are made from the schema")
            }
        }
    };
}
pub(super) use table;

/// Declares a struct that is the element of a list column.
macro_rules! element {
    (
        $(#[doc = $element_doc:literal])+
        $row:ident, $kind_name:ident { $( $(#[doc = $doc:literal])+ $column:ident : $kind:ty, )+ }
    ) => {
        $(#[doc = $element_doc])+
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $row<'a> {
            $( $(#[doc = $doc])+ pub $column: <$kind as $crate::schema::cell::Kind>::Cell<'a>, )+
        }

        #[doc = concat!("The column kind of [`", stringify!($row), "`].")]
        #[derive(Debug)]
        pub struct $kind_name;

        impl $crate::schema::cell::Element for $kind_name {
            type Cell<'a> = $row<'a>;
            fn fields() -> arrow::datatypes::Fields {
                vec![$( arrow::datatypes::Field::new(
                    stringify!($column), <$kind as $crate::schema::cell::Kind>::data_type(), true,
                ), )+].into()
            }
            fn builder() -> arrow::array::StructBuilder {
                arrow::array::StructBuilder::new(
                    Self::fields(),
                    vec![$( Box::new(<$kind as $crate::schema::cell::Kind>::builder()), )+],
                )
            }
            fn append(cell: &$row<'_>, builder: &mut arrow::array::StructBuilder) {
                let mut columns = 0..;
                $(
                    let column = builder
                        .field_builder::<<$kind as $crate::schema::cell::Kind>::Builder>(columns.next().expect("endless"))
                        .expect("the builder was made for this element");
                    <$kind as $crate::schema::cell::Kind>::append(&cell.$column, column);
                )+
                builder.append(true);
            }
        }
    };
}
pub(super) use element;
