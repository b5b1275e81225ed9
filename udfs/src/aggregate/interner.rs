//! Turns the values of a column, of any type, into small dense numbers that are cheap to count.
//!
//! A value becomes a *key* first: 64 bits for numbers, booleans and times, bytes for everything else (text as it
//! stands, other types in Arrow's row format). Keys keep the order of the values, so that "the smallest side" means
//! what SQL means by it, and they travel between partitions as the state of an aggregate. The interner then numbers
//! keys in order of arrival. Those numbers depend on how the input was partitioned: no result may depend on them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayIter, ArrayRef, ArrowPrimitiveType, AsArray, GenericByteViewArray,
    LargeBinaryBuilder, PrimitiveArray, UInt64Builder,
};
use arrow::compute::take;
use arrow::datatypes::IntervalUnit;
use arrow::datatypes::{ByteViewType, DataType, Float32Type, Float64Type};
use arrow::datatypes::{
    Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float16Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::row::{RowConverter, SortField};
use datafusion_common::{HashMap, Result, exec_err, internal_err};

/// How many views of an array are remembered.
const RECENT_VIEWS: usize = 512;

/// The number that stands for a null; never a value's number.
pub(crate) const NULL_ID: u32 = u32::MAX;

/// Receives the keys of a column, one call a row.
trait KeySink {
    fn fixed(&mut self, key: Option<u64>) -> Result<()>;
    fn bytes(&mut self, key: Option<&[u8]>) -> Result<()>;
}

/// The Arrow type that carries the keys of `data_type` in an aggregate's state.
pub(crate) fn key_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => key_type(values),
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Duration(_)
        | DataType::Interval(IntervalUnit::YearMonth) => DataType::UInt64,
        _ => DataType::LargeBinary,
    }
}

/// Signed numbers in the order of unsigned ones.
fn signed(value: i64) -> u64 {
    (value as u64) ^ (1 << 63)
}

/// Floats in total order. Both zeros are one value and so are all NaNs, as in `GROUP BY`.
fn float(value: f64) -> u64 {
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    } as i64;
    signed(bits ^ magnitude_if_negative(bits))
}

/// The bits to flip to turn the order of negative floats round: all but the sign. Flipping twice changes nothing.
fn magnitude_if_negative(bits: i64) -> i64 {
    (((bits >> 63) as u64) >> 1) as i64
}

/// Sends the keys of `array`, which is no dictionary, to `sink`.
fn visit(array: &dyn Array, sink: &mut impl KeySink) -> Result<()> {
    fn primitives<T: ArrowPrimitiveType>(
        array: &dyn Array,
        sink: &mut impl KeySink,
        key: impl Fn(T::Native) -> u64,
    ) -> Result<()> {
        let array: &PrimitiveArray<T> = array.as_primitive();
        array
            .iter()
            .try_for_each(|value| sink.fixed(value.map(&key)))
    }
    fn byte_strings<'a, A>(array: A, sink: &mut impl KeySink) -> Result<()>
    where
        A: ArrayAccessor,
        A::Item: AsRef<[u8]> + 'a,
    {
        ArrayIter::new(array).try_for_each(|value| sink.bytes(value.as_ref().map(AsRef::as_ref)))
    }
    macro_rules! integers {
        ($type:ty) => {
            primitives::<$type>(array, sink, |value| signed(i64::from(value)))
        };
    }
    match array.data_type() {
        DataType::Null => (0..array.len()).try_for_each(|_| sink.fixed(None)),
        DataType::Boolean => array
            .as_boolean()
            .iter()
            .try_for_each(|value| sink.fixed(value.map(u64::from))),
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => primitives::<UInt8Type>(array, sink, u64::from),
        DataType::UInt16 => primitives::<UInt16Type>(array, sink, u64::from),
        DataType::UInt32 => primitives::<UInt32Type>(array, sink, u64::from),
        DataType::UInt64 => primitives::<UInt64Type>(array, sink, |value| value),
        DataType::Float16 => primitives::<Float16Type>(array, sink, |value| float(value.to_f64())),
        DataType::Float32 => primitives::<Float32Type>(array, sink, |value| float(value.into())),
        DataType::Float64 => primitives::<Float64Type>(array, sink, float),
        DataType::Date32 => integers!(Date32Type),
        DataType::Date64 => integers!(Date64Type),
        DataType::Time32(TimeUnit::Second) => integers!(Time32SecondType),
        DataType::Time32(_) => integers!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => integers!(Time64MicrosecondType),
        DataType::Time64(_) => integers!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => integers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => integers!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => integers!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => integers!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => integers!(DurationNanosecondType),
        DataType::Interval(IntervalUnit::YearMonth) => integers!(IntervalYearMonthType),
        DataType::Utf8 => byte_strings(array.as_string::<i32>(), sink),
        DataType::LargeUtf8 => byte_strings(array.as_string::<i64>(), sink),
        DataType::Utf8View => byte_strings(array.as_string_view(), sink),
        DataType::Binary => byte_strings(array.as_binary::<i32>(), sink),
        DataType::LargeBinary => byte_strings(array.as_binary::<i64>(), sink),
        DataType::BinaryView => byte_strings(array.as_binary_view(), sink),
        DataType::FixedSizeBinary(_) => byte_strings(array.as_fixed_size_binary(), sink),
        other => {
            // Nested types, decimals, intervals of several units: the row format compares and hashes them all.
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let rows = converter.convert_columns(&[arrow::array::make_array(array.to_data())])?;
            rows.iter()
                .enumerate()
                .try_for_each(|(row, key)| sink.bytes(array.is_valid(row).then_some(key.as_ref())))
        }
    }
}

/// The keys of `array` as an array of [`key_type`], null where the value is null.
pub(crate) fn keys_of(array: &dyn Array) -> Result<ArrayRef> {
    struct Builders {
        fixed: UInt64Builder,
        bytes: LargeBinaryBuilder,
    }
    impl KeySink for Builders {
        fn fixed(&mut self, key: Option<u64>) -> Result<()> {
            self.fixed.append_option(key);
            Ok(())
        }
        fn bytes(&mut self, key: Option<&[u8]>) -> Result<()> {
            self.bytes.append_option(key);
            Ok(())
        }
    }
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let keys = keys_of(dictionary.values())?;
        return Ok(take(&keys, dictionary.keys(), None)?);
    }
    let mut builders = Builders {
        fixed: UInt64Builder::new(),
        bytes: LargeBinaryBuilder::new(),
    };
    visit(array, &mut builders)?;
    Ok(match key_type(array.data_type()) {
        DataType::UInt64 => Arc::new(builders.fixed.finish()),
        _ => Arc::new(builders.bytes.finish()),
    })
}

/// Numbers the distinct values of one column.
#[derive(Debug)]
pub(crate) struct Interner {
    ids: Ids,
    /// Bytes of the keys themselves, for [`Interner::size`].
    key_bytes: usize,
    /// Views met in the array at hand and their numbers, [`NULL_ID`] for none; kept between arrays for its memory.
    recent: Vec<(u128, u32)>,
}

#[derive(Debug)]
enum Ids {
    Fixed(HashMap<u64, u32>),
    Bytes(HashMap<Box<[u8]>, u32>),
}

impl Interner {
    /// An interner for values of `data_type`.
    pub(crate) fn new(data_type: &DataType) -> Self {
        let ids = match key_type(data_type) {
            DataType::UInt64 => Ids::Fixed(HashMap::default()),
            _ => Ids::Bytes(HashMap::default()),
        };
        Self {
            ids,
            key_bytes: 0,
            recent: Vec::new(),
        }
    }

    /// How many distinct values were seen.
    pub(crate) fn len(&self) -> usize {
        match &self.ids {
            Ids::Fixed(ids) => ids.len(),
            Ids::Bytes(ids) => ids.len(),
        }
    }

    /// Appends the number of each value of `array` to `out`; [`NULL_ID`] for a null.
    pub(crate) fn intern(&mut self, array: &dyn Array, out: &mut Vec<u32>) -> Result<()> {
        if let Some(dictionary) = array.as_any_dictionary_opt() {
            let values = dictionary.values();
            if values.len() > array.len() {
                // A few rows of a large dictionary, as a sliding frame takes in.
                return self.intern(&take(values, dictionary.keys(), None)?, out);
            }
            if values.is_empty() {
                out.resize(out.len() + array.len(), NULL_ID);
                return Ok(());
            }
            // The dictionary's values are few: each is looked up once, not once a row.
            let mut ids = Vec::with_capacity(values.len());
            self.intern(values, &mut ids)?;
            let nulls = dictionary.keys().nulls();
            let keys = dictionary.normalized_keys().into_iter().enumerate();
            out.extend(keys.map(|(row, key)| match nulls {
                Some(nulls) if nulls.is_null(row) => NULL_ID,
                _ => ids[key],
            }));
            return Ok(());
        }
        out.reserve(array.len());
        // Below that many rows, getting ready costs more than it saves.
        if array.len() >= RECENT_VIEWS / 16 {
            match array.data_type() {
                DataType::Utf8View => return self.intern_views(array.as_string_view(), out),
                DataType::BinaryView => return self.intern_views(array.as_binary_view(), out),
                DataType::Boolean => {
                    let ids = [self.number_fixed(0)?, self.number_fixed(1)?];
                    let values = array.as_boolean().iter();
                    out.extend(
                        values.map(|value| value.map_or(NULL_ID, |value| ids[usize::from(value)])),
                    );
                    return Ok(());
                }
                _ => {}
            }
        }
        visit(
            array,
            &mut Numbering {
                interner: self,
                out,
            },
        )
    }

    /// Numbers one key of a column of numbers.
    #[inline]
    fn number_fixed(&mut self, key: u64) -> Result<u32> {
        let Ids::Fixed(ids) = &mut self.ids else {
            return internal_err!("a column of bytes gave a number as its key");
        };
        let next = next_id(ids.len())?;
        Ok(*ids.entry(key).or_insert(next))
    }

    /// Numbers one key of a column of bytes.
    fn number_bytes(&mut self, key: &[u8]) -> Result<u32> {
        let Ids::Bytes(ids) = &mut self.ids else {
            return internal_err!("a column of numbers gave bytes as its key");
        };
        if let Some(&id) = ids.get(key) {
            return Ok(id);
        }
        let id = next_id(ids.len())?;
        ids.insert(key.into(), id);
        self.key_bytes += key.len();
        Ok(id)
    }

    /// Numbers an array of views. Equal views of one array are equal values, and where the values repeat so do the views,
    /// as the Parquet reader points every row of a value at the same bytes: most rows need neither hash nor comparison.
    fn intern_views<T: ByteViewType>(
        &mut self,
        array: &GenericByteViewArray<T>,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let mut recent = std::mem::take(&mut self.recent);
        recent.clear();
        recent.resize(RECENT_VIEWS, (0, NULL_ID));
        for (row, &view) in array.views().iter().enumerate() {
            if array.is_null(row) {
                out.push(NULL_ID);
                continue;
            }
            let mixed = ((view >> 64) as u64 ^ view as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let slot = &mut recent[(mixed >> 32) as usize % RECENT_VIEWS];
            if slot.0 != view || slot.1 == NULL_ID {
                let value: &[u8] = array.value(row).as_ref();
                *slot = (view, self.number_bytes(value)?);
            }
            out.push(slot.1);
        }
        self.recent = recent;
        Ok(())
    }

    /// As [`Interner::intern`], of an array that holds keys already.
    pub(crate) fn intern_keys(&mut self, keys: &dyn Array, out: &mut Vec<u32>) -> Result<()> {
        // Unsigned numbers and bytes are their own keys.
        match (keys.data_type(), &self.ids) {
            (DataType::UInt64, Ids::Fixed(_)) | (DataType::LargeBinary, Ids::Bytes(_)) => {
                self.intern(keys, out)
            }
            (other, _) => internal_err!("keys of an aggregate's state cannot be {other}"),
        }
    }

    /// The keys in the order of their numbers.
    pub(crate) fn keys(&self) -> Keys<'_> {
        match &self.ids {
            Ids::Fixed(ids) => {
                let mut keys = vec![0; ids.len()];
                ids.iter().for_each(|(&key, &id)| keys[id as usize] = key);
                Keys::Fixed(keys)
            }
            Ids::Bytes(ids) => {
                let mut keys: Vec<&[u8]> = vec![&[]; ids.len()];
                ids.iter().for_each(|(key, &id)| keys[id as usize] = key);
                Keys::Bytes(keys)
            }
        }
    }

    /// Bytes of memory held.
    pub(crate) fn size(&self) -> usize {
        self.key_bytes
            + self.recent.capacity() * size_of::<(u128, u32)>()
            + match &self.ids {
                Ids::Fixed(ids) => ids.allocation_size(),
                Ids::Bytes(ids) => ids.allocation_size(),
            }
    }
}

/// The distinct keys of a column, by number.
pub(crate) enum Keys<'a> {
    Fixed(Vec<u64>),
    Bytes(Vec<&'a [u8]>),
}

impl Keys<'_> {
    /// The keys of `ids` as an array of [`key_type`].
    pub(crate) fn array(&self, ids: impl Iterator<Item = u32>) -> ArrayRef {
        match self {
            Self::Fixed(keys) => {
                let mut builder = UInt64Builder::with_capacity(ids.size_hint().0);
                ids.for_each(|id| builder.append_value(keys[id as usize]));
                Arc::new(builder.finish())
            }
            Self::Bytes(keys) => {
                let mut builder = LargeBinaryBuilder::with_capacity(ids.size_hint().0, 0);
                ids.for_each(|id| builder.append_value(keys[id as usize]));
                Arc::new(builder.finish())
            }
        }
    }

    /// The double that `id` stands for, in a column of doubles.
    pub(crate) fn double(&self, id: u32) -> Option<f64> {
        self.signed(id)
            .map(|key| f64::from_bits((key ^ magnitude_if_negative(key)) as u64))
    }

    /// What `id` compares by: values are ordered as their ranks are.
    pub(crate) fn rank(&self, id: u32) -> (u64, &[u8]) {
        match self {
            Self::Fixed(keys) => (keys[id as usize], &[]),
            Self::Bytes(keys) => (0, keys[id as usize]),
        }
    }

    /// The whole number that `id` stands for, in a column of signed numbers.
    pub(crate) fn signed(&self, id: u32) -> Option<i64> {
        match self {
            Self::Fixed(keys) => Some((keys[id as usize] ^ (1 << 63)) as i64),
            Self::Bytes(_) => None,
        }
    }
}

struct Numbering<'a> {
    interner: &'a mut Interner,
    out: &'a mut Vec<u32>,
}

impl KeySink for Numbering<'_> {
    #[inline]
    fn fixed(&mut self, key: Option<u64>) -> Result<()> {
        let Some(key) = key else {
            self.out.push(NULL_ID);
            return Ok(());
        };
        let id = self.interner.number_fixed(key)?;
        self.out.push(id);
        Ok(())
    }

    #[inline]
    fn bytes(&mut self, key: Option<&[u8]>) -> Result<()> {
        let Some(key) = key else {
            self.out.push(NULL_ID);
            return Ok(());
        };
        let id = self.interner.number_bytes(key)?;
        self.out.push(id);
        Ok(())
    }
}

fn next_id(len: usize) -> Result<u32> {
    match u32::try_from(len) {
        Ok(id) if id != NULL_ID => Ok(id),
        _ => exec_err!("more than {} distinct values in one aggregate", NULL_ID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, DictionaryArray, Float64Array, Int64Array, LargeStringArray, NullArray,
        StringArray, StringViewArray,
    };
    use arrow::datatypes::Int8Type as KeyInt8;

    fn ids(array: &dyn Array) -> Vec<u32> {
        let mut out = vec![];
        Interner::new(array.data_type())
            .intern(array, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn every_string_layout_numbers_alike() {
        let values = [
            Some("a"),
            None,
            Some(""),
            Some("a"),
            Some("a longer text than twelve bytes"),
        ];
        let expected = [0, NULL_ID, 1, 0, 2];
        assert_eq!(ids(&StringArray::from_iter(values)), expected);
        assert_eq!(ids(&LargeStringArray::from_iter(values)), expected);
        assert_eq!(ids(&StringViewArray::from_iter(values)), expected);
        assert_eq!(
            ids(&DictionaryArray::<KeyInt8>::from_iter(values)),
            expected
        );
        assert_eq!(ids(&StringArray::from_iter(values).slice(2, 3)), [0, 1, 2]);
    }

    #[test]
    fn dictionaries_of_any_size_number_their_rows() {
        let nulls = DictionaryArray::<KeyInt8>::from_iter([None::<&str>, None]);
        assert_eq!(ids(&nulls), [NULL_ID, NULL_ID]);
        assert_eq!(ids(&nulls.slice(0, 0)), Vec::<u32>::new());
        let large = DictionaryArray::<KeyInt8>::from_iter([Some("a"), Some("b"), None, Some("c")]);
        assert_eq!(ids(&large.slice(2, 2)), [NULL_ID, 0]);
    }

    #[test]
    fn floats_group_as_group_by_does() {
        let array = Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]);
        assert_eq!(ids(&array), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn keys_keep_the_order_of_values() {
        let floats = [
            f64::NEG_INFINITY,
            -2.5,
            -0.0,
            1e-300,
            3.0,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(floats.map(float).is_sorted_by(|a, b| a < b));
        assert!(
            [i64::MIN, -1, 0, 1, i64::MAX]
                .map(signed)
                .is_sorted_by(|a, b| a < b)
        );
    }

    #[test]
    fn keys_survive_the_way_through_a_state() {
        let arrays: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(vec![Some(-1), None, Some(7), Some(-1)])),
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                Some(true),
            ])),
            Arc::new(StringArray::from(vec![
                Some("x"),
                None,
                Some("y"),
                Some("x"),
            ])),
            Arc::new(NullArray::new(4)),
        ];
        for array in arrays {
            let mut interner = Interner::new(array.data_type());
            let (mut direct, mut by_key) = (vec![], vec![]);
            interner.intern(&array, &mut direct).unwrap();
            interner
                .intern_keys(&keys_of(&array).unwrap(), &mut by_key)
                .unwrap();
            assert_eq!(direct, by_key);
        }
    }
}
