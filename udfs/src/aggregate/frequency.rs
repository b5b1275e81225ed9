//! Counts how often each value, or each pair of values, occurs: the state of every function here that only needs
//! frequencies. A function adds its [`Statistic`] and is complete: accumulation, partial aggregation, merging, grouping
//! and sliding frames are the same for all of them, and exact, since counts are whole numbers.

use std::cell::OnceCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Builder, ListArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion_common::{HashMap, Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, EmitTo, GroupsAccumulator};

pub(crate) use crate::stats::contingency::Cell;

use super::counts::Counts;
use super::interner::{Interner, Keys, NULL_ID, key_type, keys_of};

/// A number computed from frequencies.
pub(crate) trait Statistic: Debug + Send + Sync + 'static {
    /// The statistic of `cells`, whose pairs are distinct and whose counts are positive; `None` for a null.
    ///
    /// The numbers in cells depend on the order of arrival, so an implementation sorts by what it computes, or asks
    /// `values` what a number stands for.
    fn evaluate(cells: &mut [Cell], values: &Values) -> Result<Option<f64>>;
}

/// What the numbers in cells stand for. The list of keys is made when it is first asked for: most statistics never ask.
pub(crate) struct Values<'a> {
    types: &'a [DataType],
    interners: &'a [Interner],
    keys: [OnceCell<Keys<'a>>; 2],
}

impl Values<'_> {
    /// The type of the first (0) or second (1) argument.
    pub(crate) fn data_type(&self, argument: usize) -> &DataType {
        &self.types[argument]
    }

    /// The values of the first (0) or second (1) argument, by number.
    pub(crate) fn keys(&self, argument: usize) -> &Keys<'_> {
        self.keys[argument].get_or_init(|| self.interners[argument].keys())
    }
}

/// The state of a frequency aggregate: a list of keys for each argument and the list of counts, all equally long.
pub(crate) fn state_fields(args: &StateFieldsArgs) -> Vec<FieldRef> {
    let list = |name: &str, item| {
        Arc::new(Field::new_list(
            format_state_name(args.name, name),
            Field::new_list_field(item, true),
            true,
        ))
    };
    let keys = args.input_fields.iter().zip(["keys", "column_keys"]);
    keys.map(|(field, name)| list(name, key_type(field.data_type())))
        .chain([list("counts", DataType::UInt64)])
        .collect()
}

/// The accumulator of `args`' call.
pub(crate) fn accumulator<S: Statistic>(args: &AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(FrequencyAccumulator::<S>::new(&input_types(
        args,
    )?)))
}

/// The accumulator of `args`' call for many groups at once.
pub(crate) fn groups_accumulator<S: Statistic>(
    args: &AccumulatorArgs,
) -> Result<Box<dyn GroupsAccumulator>> {
    Ok(Box::new(FrequencyGroupsAccumulator::<S>::new(
        &input_types(args)?,
    )))
}

/// Implements `AggregateUDFImpl` for a documented type with a `signature` whose result is the [`Statistic`] of its
/// arguments' frequencies, a double. A closure from argument types to those they are cast to goes with
/// `Signature::user_defined`.
macro_rules! frequency_function {
    ($function:ty, $name:literal, $statistic:ty $(, |$arg_types:ident| $coerce:expr)?) => {
        impl datafusion_expr::AggregateUDFImpl for $function {
            fn name(&self) -> &str {
                $name
            }

            fn signature(&self) -> &datafusion_expr::Signature {
                &self.signature
            }

            fn return_type(
                &self,
                _arg_types: &[arrow::datatypes::DataType],
            ) -> datafusion_common::Result<arrow::datatypes::DataType> {
                Ok(arrow::datatypes::DataType::Float64)
            }

            $(
                fn coerce_types(
                    &self,
                    $arg_types: &[arrow::datatypes::DataType],
                ) -> datafusion_common::Result<Vec<arrow::datatypes::DataType>> {
                    $coerce
                }
            )?

            fn state_fields(
                &self,
                args: datafusion_expr::function::StateFieldsArgs,
            ) -> datafusion_common::Result<Vec<arrow::datatypes::FieldRef>> {
                Ok($crate::aggregate::frequency::state_fields(&args))
            }

            fn accumulator(
                &self,
                args: datafusion_expr::function::AccumulatorArgs,
            ) -> datafusion_common::Result<Box<dyn datafusion_expr::Accumulator>> {
                $crate::aggregate::frequency::accumulator::<$statistic>(&args)
            }

            fn groups_accumulator_supported(
                &self,
                _args: datafusion_expr::function::AccumulatorArgs,
            ) -> bool {
                true
            }

            fn create_groups_accumulator(
                &self,
                args: datafusion_expr::function::AccumulatorArgs,
            ) -> datafusion_common::Result<Box<dyn datafusion_expr::GroupsAccumulator>> {
                $crate::aggregate::frequency::groups_accumulator::<$statistic>(&args)
            }

            fn order_sensitivity(&self) -> datafusion_expr::utils::AggregateOrderSensitivity {
                datafusion_expr::utils::AggregateOrderSensitivity::Insensitive
            }

            fn documentation(&self) -> Option<&datafusion_doc::Documentation> {
                self.doc()
            }
        }
    };
}
pub(crate) use frequency_function;

fn input_types(args: &AccumulatorArgs) -> Result<Vec<DataType>> {
    if args.is_distinct {
        return exec_err!(
            "`{}` counts how often values occur and cannot be DISTINCT",
            args.name
        );
    }
    Ok(args
        .expr_fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect())
}

/// Numbers the arguments' values, row by row.
#[derive(Debug)]
struct Arguments {
    types: Vec<DataType>,
    interners: Vec<Interner>,
    /// The numbers of the batch at hand, one vector an argument; kept between batches for its memory.
    ids: Vec<Vec<u32>>,
}

impl Arguments {
    fn new(types: &[DataType]) -> Self {
        Self {
            types: types.to_vec(),
            interners: types.iter().map(Interner::new).collect(),
            ids: types.iter().map(|_| Vec::new()).collect(),
        }
    }

    fn intern(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, |interner, array, ids| interner.intern(array, ids))
    }

    fn intern_keys(&mut self, keys: &[ArrayRef]) -> Result<()> {
        self.each(keys, |interner, array, ids| {
            interner.intern_keys(array, ids)
        })
    }

    fn each(
        &mut self,
        arrays: &[ArrayRef],
        mut intern: impl FnMut(&mut Interner, &dyn Array, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        for ((interner, ids), array) in self.interners.iter_mut().zip(&mut self.ids).zip(arrays) {
            ids.clear();
            intern(interner, array, ids)?;
        }
        Ok(())
    }

    /// The pair of numbers in `row` of the batch, if no argument is null there.
    #[inline]
    fn pair(&self, row: usize) -> Option<(u32, u32)> {
        let pair = (self.ids[0][row], self.ids.get(1).map_or(0, |ids| ids[row]));
        (pair.0 != NULL_ID && pair.1 != NULL_ID).then_some(pair)
    }

    fn rows(&self) -> usize {
        self.ids[0].len()
    }

    /// How many distinct values the interners hold.
    fn values_seen(&self) -> usize {
        self.interners.iter().map(Interner::len).sum()
    }

    fn values(&self) -> Values<'_> {
        Values {
            types: &self.types,
            interners: &self.interners,
            keys: Default::default(),
        }
    }

    /// The state of the groups whose cells end at `ends` in `cells`.
    fn state(&self, cells: &[Cell], ends: &[usize]) -> Vec<ArrayRef> {
        let offsets = OffsetBuffer::from_lengths(
            ends.iter()
                .scan(0, |start, &end| Some(end - std::mem::replace(start, end))),
        );
        let list = |items: ArrayRef| -> ArrayRef {
            let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            Arc::new(ListArray::new(field, offsets.clone(), items, None))
        };
        let numbers: [fn(&Cell) -> u32; 2] = [|cell| cell.row, |cell| cell.column];
        let keys = self.interners.iter().zip(numbers);
        keys.map(|(interner, number)| list(interner.keys().array(cells.iter().map(number))))
            .chain([list(Arc::new(UInt64Array::from_iter_values(
                cells.iter().map(|cell| cell.count),
            )))])
            .collect()
    }

    fn size(&self) -> usize {
        self.interners.iter().map(Interner::size).sum::<usize>()
            + self
                .ids
                .iter()
                .map(|ids| ids.capacity() * size_of::<u32>())
                .sum::<usize>()
    }
}

/// Splits a state into the arrays of keys, the counts, and the group (row of the state) each of them belongs to.
fn open_state(states: &[ArrayRef]) -> Result<(Vec<ArrayRef>, UInt64Array, Vec<usize>)> {
    let [keys @ .., counts] = states else {
        return internal_err!("a frequency aggregate's state has no columns");
    };
    let counts: &ListArray = counts.as_list();
    // A list array may be a slice, or have room under its nulls: `values` holds more than its lists do.
    let visible = |list: &ListArray| -> ArrayRef {
        let offsets = list.value_offsets();
        let (start, end) = (offsets[0] as usize, offsets[list.len()] as usize);
        list.values().slice(start, end - start)
    };
    let rows = counts.value_offsets().windows(2).enumerate();
    let rows = rows
        .flat_map(|(row, ends)| (ends[0]..ends[1]).map(move |_| row))
        .collect();
    let keys = keys.iter().map(|array| visible(array.as_list())).collect();
    Ok((
        keys,
        visible(counts).as_primitive::<UInt64Type>().clone(),
        rows,
    ))
}

/// Frequencies of one group.
#[derive(Debug)]
struct FrequencyAccumulator<S> {
    arguments: Arguments,
    counts: Counts,
    statistic: PhantomData<S>,
}

impl<S: Statistic> FrequencyAccumulator<S> {
    fn new(types: &[DataType]) -> Self {
        Self {
            arguments: Arguments::new(types),
            counts: Counts::default(),
            statistic: PhantomData,
        }
    }

    fn lists(&self) -> Vec<ArrayRef> {
        let cells = self.counts.cells();
        self.arguments.state(&cells, &[cells.len()])
    }
}

impl<S: Statistic> Accumulator for FrequencyAccumulator<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.arguments.intern(values)?;
        for row in 0..self.arguments.rows() {
            if let Some(pair) = self.arguments.pair(row) {
                self.counts.add(pair, 1);
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.arguments.intern(values)?;
        for row in 0..self.arguments.rows() {
            if let Some(pair) = self.arguments.pair(row)
                && !self.counts.remove_one(pair)
            {
                return internal_err!("a value left a window frame that it had not entered");
            }
        }
        // A frame may slide over ever new values: forget those that left once they are the most.
        if self.arguments.values_seen() > 4 * self.counts.pairs() + 1024 {
            let state = self.lists();
            *self = Self::new(&self.arguments.types);
            self.merge_batch(&state)?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        S::evaluate(&mut self.counts.cells(), &self.arguments.values()).map(ScalarValue::Float64)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = self.lists().into_iter();
        Ok(lists
            .map(|list| ScalarValue::List(Arc::new(list.as_list().clone())))
            .collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (keys, counts, _) = open_state(states)?;
        self.arguments.intern_keys(&keys)?;
        for (row, &count) in counts.values().iter().enumerate() {
            if let Some(pair) = self.arguments.pair(row) {
                self.counts.add(pair, count);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.arguments.size() + self.counts.size()
    }
}

/// Frequencies of many groups.
#[derive(Debug)]
struct FrequencyGroupsAccumulator<S> {
    arguments: Arguments,
    counts: HashMap<(usize, u32, u32), u64>,
    groups: usize,
    statistic: PhantomData<S>,
}

impl<S: Statistic> FrequencyGroupsAccumulator<S> {
    fn new(types: &[DataType]) -> Self {
        Self {
            arguments: Arguments::new(types),
            counts: HashMap::default(),
            groups: 0,
            statistic: PhantomData,
        }
    }

    /// Takes the cells of the groups to emit, group after group, and where each group's end.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<Cell>, Vec<usize>) {
        let emitted = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        let mut taken: Vec<(usize, Cell)> = Vec::new();
        let mut kept = HashMap::default();
        for ((group, row, column), count) in self.counts.drain() {
            if group < emitted {
                taken.push((group, Cell { row, column, count }));
            } else {
                kept.insert((group - emitted, row, column), count);
            }
        }
        self.counts = kept;
        self.groups -= emitted;
        taken.sort_unstable();
        let mut ends = vec![0; emitted];
        taken.iter().for_each(|(group, _)| ends[*group] += 1);
        let mut end = 0;
        ends.iter_mut().for_each(|cells| {
            end += *cells;
            *cells = end;
        });
        (taken.into_iter().map(|(_, cell)| cell).collect(), ends)
    }

    /// Forgets the values once no group is left that holds any.
    fn forget_values(&mut self) {
        if self.counts.is_empty() {
            self.arguments = Arguments::new(&self.arguments.types);
        }
    }
}

impl<S: Statistic> GroupsAccumulator for FrequencyGroupsAccumulator<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        self.arguments.intern(values)?;
        for (row, &group) in group_indices.iter().enumerate() {
            let passes = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if passes && let Some((value, column)) = self.arguments.pair(row) {
                *self.counts.entry((group, value, column)).or_default() += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (mut cells, ends) = self.take(emit_to);
        let mut results = Float64Builder::with_capacity(ends.len());
        let values = self.arguments.values();
        let mut start = 0;
        for end in ends {
            results.append_option(S::evaluate(&mut cells[start..end], &values)?);
            start = end;
        }
        self.forget_values();
        Ok(Arc::new(results.finish()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (cells, ends) = self.take(emit_to);
        let state = self.arguments.state(&cells, &ends);
        self.forget_values();
        Ok(state)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let (keys, counts, rows) = open_state(values)?;
        self.arguments.intern_keys(&keys)?;
        for (index, (&count, &row)) in counts.values().iter().zip(&rows).enumerate() {
            if let Some((value, column)) = self.arguments.pair(index) {
                *self
                    .counts
                    .entry((group_indices[row], value, column))
                    .or_default() += count;
            }
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        // Each row is a list of the one value it has, or of none.
        let keys = values
            .iter()
            .map(|array| keys_of(array))
            .collect::<Result<Vec<_>>>()?;
        let mut counted = opt_filter.map(|filter| {
            NullBuffer::union(
                Some(&NullBuffer::new(filter.values().clone())),
                filter.nulls(),
            )
        });
        let mut counted = counted.take().flatten();
        for array in &keys {
            counted = NullBuffer::union(counted.as_ref(), array.nulls());
        }
        let rows = values[0].len();
        let mask = match &counted {
            Some(counted) => BooleanArray::new(counted.inner().clone(), None),
            None => BooleanArray::from(vec![true; rows]),
        };
        let offsets = OffsetBuffer::from_lengths((0..rows).map(|row| usize::from(mask.value(row))));
        let ones: ArrayRef = Arc::new(UInt64Array::from(vec![1; mask.true_count()]));
        let keys = keys.iter().map(|array| Ok(filter(array, &mask)?));
        keys.chain([Ok(ones)])
            .map(|items: Result<ArrayRef>| {
                let items = items?;
                let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
                Ok(Arc::new(ListArray::new(field, offsets.clone(), items, None)) as ArrayRef)
            })
            .collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.arguments.size() + self.counts.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        DictionaryArray, LargeStringArray, PrimitiveArray, StringArray, StringViewArray,
    };
    use arrow::datatypes::{Float64Type, Int8Type, Int64Type};
    use proptest::prelude::*;

    /// Tells any two tables of frequencies apart: all that a statistic may depend on.
    #[derive(Debug)]
    struct Fingerprint;

    impl Statistic for Fingerprint {
        fn evaluate(cells: &mut [Cell], values: &Values) -> Result<Option<f64>> {
            let (rows, columns) = (values.keys(0), values.keys(1));
            let mut table: Vec<_> = cells
                .iter()
                .map(|cell| (rows.rank(cell.row), columns.rank(cell.column), cell.count))
                .collect();
            table.sort_unstable();
            let mut hash = 0_u64;
            for (row, column, count) in &table {
                for part in [
                    &row.0.to_le_bytes(),
                    row.1,
                    &column.0.to_le_bytes(),
                    column.1,
                    &count.to_le_bytes(),
                ] {
                    hash = part.iter().fold(hash, |hash, &byte| {
                        (hash ^ u64::from(byte))
                            .wrapping_mul(0x100_0000_01b3)
                            .rotate_left(5)
                    });
                }
            }
            // 53 bits, which a double holds.
            Ok((!table.is_empty()).then_some((hash >> 11) as f64))
        }
    }

    const TEXTS: [&str; 4] = ["", "a", "b", "a text that no view holds inline"];

    type Row = (Option<usize>, Option<i8>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (
            prop::option::weighted(0.8, 0..TEXTS.len()),
            prop::option::weighted(0.8, -1_i8..2),
        );
        prop::collection::vec(row, 0..60)
    }

    fn texts<A: FromIterator<Option<&'static str>>>(rows: &[Row]) -> A {
        rows.iter()
            .map(|row| row.0.map(|text| TEXTS[text]))
            .collect()
    }

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let sides: PrimitiveArray<Int8Type> = rows.iter().map(|row| row.1).collect();
        vec![Arc::new(texts::<StringArray>(rows)), Arc::new(sides)]
    }

    fn new(values: &[ArrayRef]) -> FrequencyAccumulator<Fingerprint> {
        let types: Vec<_> = values
            .iter()
            .map(|array| array.data_type().clone())
            .collect();
        FrequencyAccumulator::new(&types)
    }

    fn of(values: &[ArrayRef]) -> ScalarValue {
        let mut accumulator = new(values);
        accumulator.update_batch(values).unwrap();
        accumulator.evaluate().unwrap()
    }

    fn slice(values: &[ArrayRef], start: usize, end: usize) -> Vec<ArrayRef> {
        values
            .iter()
            .map(|array| array.slice(start, end - start))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn merging_any_split_equals_the_whole(rows in rows(), at in any::<prop::sample::Index>()) {
            let values = columns(&rows);
            let at = at.index(rows.len() + 1);
            let mut merged = new(&values);
            for part in [slice(&values, 0, at), slice(&values, at, rows.len())] {
                let mut accumulator = new(&values);
                accumulator.update_batch(&part).unwrap();
                let state = accumulator.state().unwrap();
                let state: Vec<_> = state.iter().map(|field| field.to_array().unwrap()).collect();
                merged.merge_batch(&state).unwrap();
            }
            prop_assert_eq!(merged.evaluate().unwrap(), of(&values));
            prop_assert_eq!(merged.evaluate().unwrap(), of(&values), "evaluating consumes nothing");
        }

        #[test]
        fn retracting_equals_counting_anew(rows in rows(), width in 1_usize..20) {
            let values = columns(&rows);
            let mut sliding = new(&values);
            for end in 1..=rows.len() {
                sliding.update_batch(&slice(&values, end - 1, end)).unwrap();
                let start = end.saturating_sub(width);
                if start > 0 {
                    sliding.retract_batch(&slice(&values, start - 1, start)).unwrap();
                }
                prop_assert_eq!(sliding.evaluate().unwrap(), of(&slice(&values, start, end)));
            }
        }

        #[test]
        fn layout_never_matters(rows in rows()) {
            let values = columns(&rows);
            let expected = of(&values);
            let layouts: [ArrayRef; 4] = [
                Arc::new(texts::<LargeStringArray>(&rows)),
                Arc::new(texts::<StringViewArray>(&rows)),
                Arc::new(texts::<DictionaryArray<Int8Type>>(&rows)),
                Arc::new(texts::<StringViewArray>(&[&[(Some(3), None)], rows.as_slice()].concat()).slice(1, rows.len())),
            ];
            for layout in layouts {
                prop_assert_eq!(of(&[layout, Arc::clone(&values[1])]), expected.clone());
            }
        }

        #[test]
        fn groups_equal_one_accumulator_each(
            rows in rows(),
            groups in prop::collection::vec(0_usize..5, 60),
            filter in prop::collection::vec(prop::option::weighted(0.9, prop::bool::weighted(0.8)), 60),
            at in any::<prop::sample::Index>(),
            first in 0_usize..6,
        ) {
            let values = columns(&rows);
            let (groups, filter) = (&groups[..rows.len()], BooleanArray::from(filter[..rows.len()].to_vec()));
            let expected: Vec<_> = (0..5)
                .map(|group| {
                    let kept: Vec<_> = (0..rows.len())
                        .filter(|&row| groups[row] == group && filter.is_valid(row) && filter.value(row))
                        .map(|row| rows[row])
                        .collect();
                    of(&columns(&kept))
                })
                .collect();
            let new = || FrequencyGroupsAccumulator::<Fingerprint>::new(&[DataType::Utf8, DataType::Int8]);
            let assert_expected = |accumulator: &mut FrequencyGroupsAccumulator<Fingerprint>, first: usize| {
                let emitted = [EmitTo::First(first), EmitTo::All].map(|emit_to| accumulator.evaluate(emit_to).unwrap());
                let emitted = emitted.iter().flat_map(|array| array.as_primitive::<Float64Type>().iter());
                assert_eq!(emitted.map(ScalarValue::Float64).collect::<Vec<_>>(), expected);
            };
            let at = at.index(rows.len() + 1);

            // Directly, in two batches.
            let mut direct = new();
            for (start, end) in [(0, at), (at, rows.len())] {
                let part = slice(&values, start, end);
                direct.update_batch(&part, &groups[start..end], Some(&filter.slice(start, end - start)), 5).unwrap();
            }
            assert_expected(&mut direct, first.min(5));

            // One part by way of a partial aggregation's state, emitted in two steps, the other row by row.
            let mut partial = new();
            partial.update_batch(&slice(&values, 0, at), &groups[..at], Some(&filter.slice(0, at)), 5).unwrap();
            let mut merged = new();
            let first = first.min(5);
            merged.merge_batch(&partial.state(EmitTo::First(first)).unwrap(), &(0..first).collect::<Vec<_>>(), 5).unwrap();
            merged.merge_batch(&partial.state(EmitTo::All).unwrap(), &(first..5).collect::<Vec<_>>(), 5).unwrap();
            let rest = filter.slice(at, rows.len() - at);
            let converted = partial.convert_to_state(&slice(&values, at, rows.len()), Some(&rest)).unwrap();
            merged.merge_batch(&converted, &groups[at..], 5).unwrap();
            assert_expected(&mut merged, 0);
        }
    }

    #[test]
    fn a_value_that_never_came_cannot_leave() {
        let values = columns(&[(Some(0), Some(1))]);
        assert!(new(&values).retract_batch(&values).is_err());
    }

    #[test]
    fn values_that_left_are_forgotten() {
        let numbers: PrimitiveArray<Int64Type> = (0..20_000).map(Some).collect();
        let values: Vec<ArrayRef> = vec![Arc::new(numbers)];
        let mut sliding = FrequencyAccumulator::<Count>::new(&[DataType::Int64]);
        for end in (0..20_000).step_by(50) {
            sliding
                .update_batch(&slice(&values, end, end + 50))
                .unwrap();
            if end >= 100 {
                sliding
                    .retract_batch(&slice(&values, end - 100, end - 50))
                    .unwrap();
                assert_eq!(
                    sliding.evaluate().unwrap(),
                    ScalarValue::Float64(Some(100.0))
                );
            }
        }
        assert!(sliding.arguments.values_seen() < 2000);
    }

    /// How many distinct values there are.
    #[derive(Debug)]
    struct Count;

    impl Statistic for Count {
        fn evaluate(cells: &mut [Cell], _values: &Values) -> Result<Option<f64>> {
            Ok(Some(cells.len() as f64))
        }
    }

    #[test]
    fn memory_is_accounted_for() {
        let values = columns(&[(Some(3), Some(1)), (Some(1), Some(1))]);
        let mut accumulator = new(&values);
        let before = accumulator.size();
        accumulator.update_batch(&values).unwrap();
        assert!(accumulator.size() > before + TEXTS[3].len());
    }
}
