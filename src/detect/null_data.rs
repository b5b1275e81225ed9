//! Rules that promise a rate of false findings keep it on data in which nothing happens.
//!
//! Windows are drawn from one distribution, so that whatever is found is found by chance. A line for the p-value is a
//! promise of how often that is; with the line for the size of the effect at nothing, the rate that is measured must lie
//! in the binomial interval around it. `INFERWATCH_NULL_WINDOWS` asks for more windows than a quick run draws.

use std::collections::BTreeMap;

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::case::CaseRunner;
use super::evaluate::{Evaluated, Prepared};
use crate::catalog::{Pack, ParamValue, State};
use crate::schema::{Call, CallBuilder, Micros, Table};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const AT: i64 = 1_000_000 * HOUR;

const CLASSES: [&str; 4] = ["ham", "newsletter", "spam", "phishing"];
const SHARES: [f64; 4] = [0.5, 0.25, 0.15, 0.1];

/// A row at a time, of a class, from a service.
fn append(
    calls: &mut CallBuilder,
    number: usize,
    time: i64,
    class: &str,
    service: &str,
    fails: bool,
) {
    calls.append(&Call {
        event_time: Micros(time),
        event_id: &format!("event-{number}"),
        source_format: "test",
        record_role: "primary",
        caller: Some("a"),
        model: Some("m"),
        service_name: Some(service),
        prediction_class: (!fails).then_some(class),
        error_type: fails.then_some(class),
        outcome: if fails { "failure" } else { "success" },
        hour: "2084-01-29T16",
        ..Call::default()
    });
}

/// So many rows from `from` minutes before the end to `to` minutes before it.
struct Side {
    rows: usize,
    from: i64,
    to: i64,
    service: &'static str,
}

const fn side(rows: usize, from: i64, to: i64, service: &'static str) -> Side {
    Side {
        rows,
        from,
        to,
        service,
    }
}

struct Promise {
    rule: &'static str,
    sides: [Side; 2],
    fails: bool,
}

const PROMISES: [Promise; 3] = [
    Promise {
        rule: "prediction-drift-chi2",
        sides: [side(250, 10, 5, "s"), side(250, 5, 0, "s")],
        fails: false,
    },
    Promise {
        rule: "poisoning-source-ab",
        sides: [side(520, 4_000, 0, "one"), side(520, 4_000, 0, "other")],
        fails: false,
    },
    Promise {
        rule: "error-mix-shift",
        sides: [side(400, 1_400, 10, "s"), side(60, 10, 0, "s")],
        fails: true,
    },
];

fn windows() -> usize {
    let asked = std::env::var("INFERWATCH_NULL_WINDOWS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(150)
}

/// How many of so many windows of nothing fire, with these values of parameters.
async fn fired(promise: &Promise, params: &[(&str, f64)], windows: usize) -> usize {
    let pack = Pack::embedded();
    let file = pack.rule(promise.rule).expect("ships");
    let mut overrides: Vec<(String, ParamValue)> = params
        .iter()
        .map(|(name, value)| ((*name).to_string(), ParamValue::Float(*value)))
        .collect();
    // Callers with many invalid requests are another matter.
    if file.rule.param("max_invalid").is_some() {
        overrides.push(("max_invalid".into(), ParamValue::Integer(1_000_000)));
    }
    let runner = CaseRunner::new().await.expect("the views plan");
    let prepared: Prepared<'_> = runner.prepare_with(file, &overrides).await.expect("plans");
    let classes = WeightedIndex::new(SHARES).expect("weights");
    let mut random = StdRng::seed_from_u64(7);
    let mut fired = 0;
    for _ in 0..windows {
        let mut calls = CallBuilder::default();
        let mut number = 0;
        for side in &promise.sides {
            for _ in 0..side.rows {
                let time = AT - random.random_range(side.to * MINUTE + 1..=side.from * MINUTE);
                let class = CLASSES[classes.sample(&mut random)];
                append(&mut calls, number, time, class, side.service, promise.fails);
                number += 1;
            }
        }
        let rows = BTreeMap::from([(Table::Calls, calls.finish())]);
        runner.place(&rows).expect("rows");
        let Evaluated { state, detail, .. } = prepared.evaluate(AT).await;
        assert!(
            matches!(state, State::Fired | State::Clear),
            "{state:?}: {detail:?}"
        );
        fired += usize::from(state == State::Fired);
    }
    fired
}

/// At a tenth there is something to count.
const LINE: f64 = 0.1;

/// Counts what windows of nothing fire; one seed in a thousand lies outside the interval.
fn assert_as_rare_as_promised(promise: &Promise) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let windows = windows();
    let mean = windows as f64 * LINE;
    let margin = 3.29 * (mean * (1.0 - LINE)).sqrt();
    assert!(
        margin < mean,
        "{windows} windows are too few to see that a rule never fires"
    );
    let chance = [("max_p", LINE), ("min_effect", 0.0)];
    let fired = runtime.block_on(fired(promise, &chance, windows));
    assert!(
        (fired as f64 - mean).abs() <= margin,
        "{}: {fired} of {windows} windows fire, {mean} ± {margin:.1} may",
        promise.rule
    );
}

#[test]
fn drift_is_found_by_chance_as_rarely_as_its_line_says() {
    assert_as_rare_as_promised(&PROMISES[0]);
}

#[test]
fn a_poisoned_source_is_found_by_chance_as_rarely_as_its_line_says() {
    assert_as_rare_as_promised(&PROMISES[1]);
}

#[test]
fn other_errors_are_found_by_chance_as_rarely_as_their_line_says() {
    assert_as_rare_as_promised(&PROMISES[2]);
}

#[test]
fn the_lines_that_ship_find_nothing_in_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for promise in &PROMISES {
        let fired = runtime.block_on(fired(promise, &[], windows() / 5));
        assert_eq!(fired, 0, "{}", promise.rule);
    }
}
