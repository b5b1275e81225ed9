//! The kernels of the statistical functions, 8,192 rows a call.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, LargeStringArray,
    ListArray, StringArray, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::logical_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, EmitTo, ScalarFunctionArgs, ScalarUDF, WindowUDF,
};
use datafusion::physical_expr::expressions::col;
use inferwatch_udfs::{aggregate, scalar, window};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROWS: usize = 8192;

fn aggregates(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(7);
    let models: Vec<_> = (0..ROWS)
        .map(|_| format!("provider/model-{}", random.random_range(0..40)))
        .collect();
    let texts = || models.iter().map(|model| Some(model.as_str()));
    // As the Parquet reader makes them: rows of one value share its bytes.
    let mut shared = StringViewBuilder::new().with_deduplicate_strings();
    models.iter().for_each(|model| shared.append_value(model));
    let layouts: [(&str, ArrayRef); 6] = [
        ("utf8", Arc::new(StringArray::from_iter(texts()))),
        ("large_utf8", Arc::new(LargeStringArray::from_iter(texts()))),
        ("utf8_view_shared", Arc::new(shared.finish())),
        ("utf8_view", Arc::new(StringViewArray::from_iter(texts()))),
        (
            "dictionary",
            Arc::new(DictionaryArray::<Int32Type>::from_iter(texts())),
        ),
        (
            "int64",
            Arc::new(Int64Array::from_iter_values(
                (0..ROWS).map(|_| random.random_range(0..40)),
            )),
        ),
    ];
    let sides: ArrayRef = Arc::new(BooleanArray::from_iter(
        (0..ROWS).map(|_| Some(random.random::<bool>())),
    ));
    let latencies: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..ROWS).map(|_| random.random_range(1.0..9e3)),
    ));
    let groups: Vec<usize> = (0..ROWS).map(|_| random.random_range(0..100)).collect();

    for (name, values) in &layouts {
        let one = [Arc::clone(values)];
        aggregate(
            criterion,
            &format!("entropy_agg/{name}"),
            aggregate::EntropyAgg::default().into(),
            &one,
            &groups,
        );
        let two = [Arc::clone(values), Arc::clone(&sides)];
        aggregate(
            criterion,
            &format!("chi_squared_p_agg/{name}"),
            aggregate::ChiSquaredPAgg::default().into(),
            &two,
            &groups,
        );
    }
    let counts = [Arc::clone(&layouts[5].1)];
    aggregate(
        criterion,
        "entropy_counts/int64",
        aggregate::EntropyCounts::default().into(),
        &counts,
        &groups,
    );
    let latencies = [latencies, sides];
    aggregate(
        criterion,
        "ks_p/float64",
        aggregate::KsP::default().into(),
        &latencies,
        &groups,
    );
    aggregate(
        criterion,
        "psi/float64",
        aggregate::Psi::default().into(),
        &latencies,
        &groups,
    );
}

/// Measures an aggregate over one group and over a hundred, from its first row to its result.
fn aggregate(
    criterion: &mut Criterion,
    name: &str,
    function: AggregateUDF,
    values: &[ArrayRef],
    groups: &[usize],
) {
    let fields: Vec<_> = ["a", "b"]
        .iter()
        .zip(values)
        .map(|(name, array)| Arc::new(Field::new(*name, array.data_type().clone(), true)))
        .collect();
    let schema = Schema::new(fields.clone());
    let arguments: Vec<_> = fields
        .iter()
        .map(|field| col(field.name(), &schema).expect("a column"))
        .collect();
    let args = || AccumulatorArgs {
        return_field: Arc::new(Field::new("result", DataType::Float64, true)),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "result",
        is_distinct: false,
        exprs: &arguments,
        expr_fields: &fields,
    };
    let mut benches = criterion.benchmark_group(name);
    benches.throughput(Throughput::Elements(ROWS as u64));
    benches.bench_function("one_group", |bencher| {
        bencher.iter(|| {
            let mut accumulator = function.accumulator(args()).expect("an accumulator");
            accumulator
                .update_batch(black_box(values))
                .expect("values it takes");
            accumulator.evaluate().expect("a result")
        });
    });
    benches.bench_function("100_groups", |bencher| {
        bencher.iter(|| {
            let mut accumulator = function
                .create_groups_accumulator(args())
                .expect("an accumulator");
            accumulator
                .update_batch(black_box(values), groups, None, 100)
                .expect("values it takes");
            accumulator.evaluate(EmitTo::All).expect("a result")
        });
    });
    benches.finish();
}

fn windows(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(7);
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..ROWS).map(|_| random.random_range(1.0..9e3)),
    ));
    let functions: [(&str, WindowUDF); 2] = [
        ("rolling_zscore", window::RollingZscore::default().into()),
        (
            "rolling_robust_zscore",
            window::RollingRobustZscore::default().into(),
        ),
    ];
    for (name, function) in functions {
        let mut benches = criterion.benchmark_group(name);
        benches.throughput(Throughput::Elements(ROWS as u64));
        let frames: [(&str, usize, usize); 4] = [
            ("100_preceding", 100, 0),
            ("1000_preceding", 1000, 0),
            ("50_around", 50, 50),
            ("unbounded_preceding", ROWS, 0),
        ];
        for (frame, preceding, following) in frames {
            benches.bench_function(frame, |bencher| {
                bencher.iter(|| {
                    let mut evaluator = function
                        .partition_evaluator_factory(PartitionEvaluatorArgs::default())
                        .expect("an evaluator");
                    for row in 0..ROWS {
                        let range = row.saturating_sub(preceding)..(row + following + 1).min(ROWS);
                        black_box(
                            evaluator
                                .evaluate(std::slice::from_ref(&values), &range)
                                .expect("a score"),
                        );
                    }
                });
            });
        }
        benches.finish();
    }
}

/// Functions of all rows of a partition at once, whatever their frame.
fn partitions(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(7);
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..ROWS).map(|_| random.random_range(0.0..1.0)),
    ));
    let function: WindowUDF = window::BenjaminiHochberg::default().into();
    let mut benches = criterion.benchmark_group(function.name());
    benches.throughput(Throughput::Elements(ROWS as u64));
    benches.bench_function("whole_partition", |bencher| {
        bencher.iter(|| {
            let mut evaluator = function
                .partition_evaluator_factory(PartitionEvaluatorArgs::default())
                .expect("an evaluator");
            evaluator
                .evaluate_all(black_box(std::slice::from_ref(&values)), ROWS)
                .expect("p-values")
        });
    });
    benches.finish();
}

fn scalars(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(7);
    let lists = |random: &mut StdRng| {
        let lists = (0..ROWS).map(|_| {
            Some(
                (0..8)
                    .map(|_| Some(random.random_range(1.0..90.0)))
                    .collect::<Vec<_>>(),
            )
        });
        let list: ListArray =
            ListArray::from_iter_primitive::<arrow::datatypes::Float64Type, _, _>(lists);
        ColumnarValue::Array(Arc::new(list))
    };
    let numbers = |range: std::ops::Range<f64>, random: &mut StdRng| {
        let numbers = (0..ROWS).map(|_| random.random_range(range.clone()));
        ColumnarValue::Array(Arc::new(Float64Array::from_iter_values(numbers)))
    };
    let (observed, expected) = (lists(&mut random), lists(&mut random));
    let (successes, total) = (
        numbers(0.0..50.0, &mut random),
        numbers(50.0..5e3, &mut random),
    );
    let functions: [(ScalarUDF, Vec<ColumnarValue>); 3] = [
        (
            scalar::ChiSquaredP::default().into(),
            vec![observed.clone(), expected],
        ),
        (scalar::ShannonBits::default().into(), vec![observed]),
        (
            scalar::WilsonLower::default().into(),
            vec![successes, total],
        ),
    ];
    let mut benches = criterion.benchmark_group("scalar");
    benches.throughput(Throughput::Elements(ROWS as u64));
    for (function, arguments) in functions {
        benches.bench_function(function.name(), |bencher| {
            bencher.iter(|| {
                function.invoke_with_args(ScalarFunctionArgs {
                    args: black_box(arguments.clone()),
                    arg_fields: arguments
                        .iter()
                        .map(|argument| {
                            Arc::new(Field::new("argument", argument.data_type(), true))
                        })
                        .collect(),
                    number_rows: ROWS,
                    return_field: Arc::new(Field::new("result", DataType::Float64, true)),
                    config_options: Arc::default(),
                })
            });
        });
    }
    benches.finish();
}

criterion_group!(benches, aggregates, windows, partitions, scalars);
criterion_main!(benches);
