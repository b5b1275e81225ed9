//! Functions of text over one batch of 8,192 prompts of about 500 bytes, in each string layout.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeStringArray, StringArray, StringViewArray};
use arrow::compute::concat;
use arrow::datatypes::Field;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use inferwatch_udfs::scalar;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const ROWS: usize = 8192;

/// Prompts of common words; `secrets` of a hundred hold an address and a card number.
fn prompts(secrets: u32) -> Vec<String> {
    let words: Vec<&str> = "please summarise the attached quarterly report and list three regions whose revenue fell since \
        last year keep it under two hundred words audience is finance team so avoid marketing language explain each number"
        .split_whitespace()
        .collect();
    let mut rng = StdRng::seed_from_u64(11);
    let prompt = |_| {
        let mut text = String::new();
        while text.len() < 500 {
            text.push_str(words.choose(&mut rng).copied().unwrap_or_default());
            text.push_str(if rng.random_ratio(1, 12) { ". " } else { " " });
        }
        if rng.random_ratio(secrets, 100) {
            text.push_str("write to ada@example.org about 4111 1111 1111 1111");
        }
        text
    };
    (0..ROWS).map(prompt).collect()
}

fn call(function: &ScalarUDF, arguments: &[ColumnarValue]) -> ColumnarValue {
    let kinds: Vec<_> = arguments.iter().map(ColumnarValue::data_type).collect();
    let result = function.return_type(&kinds).expect("a type");
    let fields = kinds.into_iter().map(|kind| Field::new("text", kind, true));
    let args = ScalarFunctionArgs {
        args: arguments.to_vec(),
        arg_fields: fields.map(Arc::new).collect(),
        number_rows: ROWS,
        return_field: Arc::new(Field::new("result", result, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    function.invoke_with_args(args).expect("a result")
}

fn bench(criterion: &mut Criterion) {
    for (name, prompts) in [
        ("clean", prompts(0)),
        ("one in ten with secrets", prompts(10)),
    ] {
        let layouts: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter_values(&prompts)),
            Arc::new(LargeStringArray::from_iter_values(&prompts)),
            Arc::new(StringViewArray::from_iter_values(&prompts)),
        ];
        let bytes: usize = prompts.iter().map(String::len).sum();
        for function in scalar::text_udfs() {
            // It takes no text but what `text_sketch` makes of it; see below.
            if function.name() == "sketch_similarity" {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("{}/{name}", function.name()));
            group.throughput(Throughput::Bytes(bytes as u64));
            for column in &layouts {
                let arguments = [ColumnarValue::Array(Arc::clone(column))];
                group.bench_function(column.data_type().to_string(), |bencher| {
                    bencher.iter(|| black_box(call(&function, black_box(&arguments))));
                });
            }
            group.finish();
        }
    }
}

/// Sketches against each other, and against one that is looked for.
fn sketches(criterion: &mut Criterion) {
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(prompts(0)));
    let named = |name: &str| {
        let mut functions = scalar::text_udfs().into_iter();
        functions
            .find(|function| function.name() == name)
            .expect("a function of text")
    };
    let sketches = call(&named("text_sketch"), &[ColumnarValue::Array(texts)])
        .into_array(ROWS)
        .expect("a column");
    let one = ScalarValue::try_from_array(&sketches, 0).expect("a sketch");
    // Each beside the one before it.
    let parts = [sketches.slice(1, ROWS - 1), sketches.slice(0, 1)];
    let others = concat(&[&parts[0], &parts[1]]).expect("of one type");
    let function = named("sketch_similarity");
    let mut group = criterion.benchmark_group(function.name());
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, other) in [
        ("column", ColumnarValue::Array(others)),
        ("literal", ColumnarValue::Scalar(one)),
    ] {
        let arguments = [ColumnarValue::Array(Arc::clone(&sketches)), other];
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(call(&function, black_box(&arguments))));
        });
    }
    group.finish();
}

criterion_group!(benches, bench, sketches);
criterion_main!(benches);
