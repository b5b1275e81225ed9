//! Why a rule did not fire for a subject at an instant.
//!
//! What the rule reads is counted after each of its conditions ([`funnel`]); where the rows of the subject end says why.
//! Where they do not end, the rule finds the subject now, and what is stored says what happened then: the window was not
//! closed, nobody ran the rule, rows came too late, or somebody decided that nobody is told. Where there are none to
//! begin with, [`near`] looks for them.

mod answer;
mod funnel;
mod near;
mod words;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use serde_json::{Map, Value};

pub use answer::Answer;
pub use funnel::Step;

use super::correlate;
use super::evaluate::{Evaluated, Prepared, Window, first_table};
use super::exceptions::Excepted;
use super::findings::Finding;
use super::json::{self, time_text};
use super::run::{RunOptions, context_of};
use super::source::{Extents, Needs};
use super::stored::{self, Progress, StoredWindow};
use super::watermark::Sources;
use crate::catalog::{ParamValue, RuleFile, State};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;
use crate::suggest::nearest;
use funnel::{Funnel, Stop, Subject};

/// What is asked.
#[derive(Debug)]
pub struct Question<'q> {
    /// Columns of the rule's entity and their values.
    pub entity: &'q [(String, String)],
    /// The window that ends at this time, or just before it.
    pub at: i64,
    /// Parameters that differ from their defaults.
    pub overrides: &'q [(String, ParamValue)],
    /// Subjects that nobody is told of.
    pub exceptions: &'q [Excepted],
    /// Bytes of rows to hold in memory.
    pub memory: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct WhyNot {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// The window.
    pub window: Window,
    /// The subject.
    pub entity: Vec<(String, String)>,
    /// Rows after each step of the query.
    pub steps: Vec<Step>,
    /// How the window ends when it is evaluated now, for everybody, and why.
    pub state: State,
    /// Why, where that needs to be said.
    pub detail: Option<String>,
    /// What is known about the window and the subject beside: a word and a text.
    pub facts: Vec<(&'static str, String)>,
    /// Why it did not fire.
    pub answer: Answer,
}

impl WhyNot {
    /// As one JSON object.
    pub fn json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            serde_json::json!({
                "part": step.part,
                "step": step.what,
                "rows": step.left,
                "note": step.note,
            })
        });
        let entity = self.entity.iter();
        let entity: Map<String, Value> = entity
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let facts = self.facts.iter();
        let facts: Map<String, Value> = facts
            .map(|(name, text)| ((*name).to_string(), text.as_str().into()))
            .collect();
        serde_json::json!({
            "rule": self.rule_id,
            "version": self.rule_version,
            "window_start": time_text(self.window.start),
            "window_end": time_text(self.window.end),
            "entity": entity,
            "steps": steps.collect::<Vec<_>>(),
            "state": self.state.name(),
            "detail": self.detail,
            "facts": facts,
            "reason": self.answer.reason,
            "answer": self.answer.sentence,
            "hint": self.answer.hint,
        })
    }
}

/// Finds out why a rule did not fire.
///
/// # Errors
/// When the entity is not the rule's, or the store cannot be read.
pub async fn why_not(store: &Store, file: &RuleFile, question: &Question<'_>) -> Result<WhyNot> {
    let rule = &file.rule;
    check_entity(file, question.entity)?;
    let every = rule.every.0;
    let end = question.at.div_euclid(every) * every;
    let over_store = context_of(store).await?;
    let hold = rule.hold.0;
    let reach = rule.window.0 + rule.baseline.map_or(0, |baseline| baseline.0);
    let range = Window {
        start: end - hold - reach,
        end: end + hold,
    };
    let extents = Extents::of(store, first_table(rule))?;
    let extent = match rule.correlation {
        Some(_) => extents.last().map(|last| (last, last)),
        None => extents.of_source(first_table(rule)),
    };
    // The log of a table knows it to the millisecond, and rounds up.
    let last_event = extent.map(|(_, last)| last.div_euclid(1_000) * 1_000);
    let mut read = Vec::new();
    let context = match &rule.correlation {
        Some(correlation) => {
            correlate::stored_context(&over_store, file, correlation, range).await?
        }
        None => {
            let prepared = Prepared::new(&over_store, file, question.overrides, last_event).await?;
            let needs = Needs::of(&over_store, &prepared)?;
            let below = needs.through_views(&over_store).await?;
            read.extend(below.tables.into_keys());
            let loaded = needs.load(&over_store, range, question.memory).await?;
            loaded.unwrap_or_else(|| over_store.clone())
        }
    };
    let slowest = match last_event {
        Some(last) => slowest(store, &over_store, &read, last).await?,
        None => None,
    };
    let prepared = Prepared::new(&context, file, question.overrides, last_event).await?;
    let evaluated = prepared.evaluate(end).await;
    let window = evaluated.window;
    let mut case = Case {
        file,
        question,
        over_store: &over_store,
        window,
        evaluated,
        last_event,
        slowest,
        subject: Subject::default(),
        returned: Vec::new(),
        stop: None,
        standing: Standing::of(store, &over_store, file, question, window).await?,
        facts: Vec::new(),
    };
    let mut steps = Vec::new();
    if case.evaluated.state != State::Error {
        let mut funnel = Funnel::new(&context, window);
        let plan = funnel.taken_apart(prepared.bound(window)?)?;
        case.subject = subject_of(&plan, question.entity)?;
        if funnel.walk(&plan, case.subject.clone(), None).await? {
            let mut rows = LogicalPlanBuilder::from(plan.clone());
            if let Some(predicate) = case.subject.predicate() {
                rows = rows.filter(predicate)?;
            }
            case.returned = funnel.rows(rows.build()?).await?;
            let left = case.returned.len() as u64;
            funnel.steps.push(Step {
                part: None,
                what: "rows returned".to_string(),
                left,
                note: None,
            });
        }
        steps = funnel.steps;
        case.stop = funnel.stop;
    }
    let answer = case.answer(&prepared).await?;
    Ok(WhyNot {
        rule_id: rule.id.clone(),
        rule_version: rule.version,
        window,
        entity: question.entity.to_vec(),
        steps,
        state: case.evaluated.state,
        detail: case.evaluated.detail.clone(),
        facts: case.facts,
        answer,
    })
}

/// The source that is furthest behind of those that a run would wait for.
async fn slowest(
    store: &Store,
    context: &datafusion::prelude::SessionContext,
    read: &[Table],
    last: i64,
) -> Result<Option<(String, i64)>> {
    let idle_after = RunOptions::default().idle_after;
    let sources = Sources::of(store, context, Some(last - 2 * idle_after.0)).await?;
    let slowest = sources.slowest(read, last, idle_after);
    Ok(slowest.map(|source| (source.name.clone(), source.reached())))
}

fn check_entity(file: &RuleFile, entity: &[(String, String)]) -> Result<()> {
    let known = &file.rule.entity;
    for (column, _) in entity {
        if !known.contains(column) {
            let near = nearest(column, known.iter().map(String::as_str));
            return Err(Error::Usage {
                message: format!(
                    "`{column}` is no column of the entity of `{}`",
                    file.rule.id
                ),
                hint: Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it is {}", known.join(", ")),
                }),
            });
        }
    }
    Ok(())
}

/// The subject as columns that the query returns.
fn subject_of(plan: &LogicalPlan, entity: &[(String, String)]) -> Result<Subject> {
    let schema = plan.schema();
    let mut subject = Subject::default();
    for (name, value) in entity {
        let Some(place) = schema
            .fields()
            .iter()
            .position(|field| field.name() == name)
        else {
            continue;
        };
        let field = schema.qualified_field(place);
        let value =
            ScalarValue::try_from_string(value.clone(), field.1.data_type()).map_err(|error| {
                Error::Usage {
                    message: format!(
                        "`{value}` is no value of `{name}`: {}",
                        error.strip_backtrace()
                    ),
                    hint: None,
                }
            })?;
        subject.0.push((Expr::Column(Column::from(field)), value));
    }
    Ok(subject)
}

/// All that an answer is made of.
struct Case<'c> {
    file: &'c RuleFile,
    question: &'c Question<'c>,
    over_store: &'c datafusion::prelude::SessionContext,
    window: Window,
    /// The window as it is now.
    evaluated: Evaluated,
    last_event: Option<i64>,
    /// The source that the window waits for, and how far it has come.
    slowest: Option<(String, i64)>,
    subject: Subject,
    /// Rows that the query returns for the subject now.
    returned: Vec<Map<String, Value>>,
    stop: Option<Stop>,
    standing: Standing,
    facts: Vec<(&'static str, String)>,
}

impl Case<'_> {
    /// Whether a row or a finding is of the subject.
    fn is_subject(&self, entity: &Map<String, Value>) -> bool {
        json::has(entity, self.question.entity)
    }
}

/// What earlier runs left about the window and the subject.
#[derive(Debug)]
struct Standing {
    progress: Progress,
    /// Whether rows came to a table of the rule since its last run.
    has_news: bool,
    /// The window as it was evaluated last, and with which parameters.
    stored: Option<(StoredWindow, Option<Value>)>,
    /// The gap that the window lies in: why, and how many rows came too late.
    gap: Option<(String, i64)>,
    /// The findings of the subject, as they stand.
    findings: Vec<Finding>,
    lateness: i64,
}

impl Standing {
    async fn of(
        store: &Store,
        context: &datafusion::prelude::SessionContext,
        file: &RuleFile,
        question: &Question<'_>,
        window: Window,
    ) -> Result<Standing> {
        let rule = &file.rule;
        let snapshot = store.snapshot(Table::Evaluations)?;
        let progress = Progress::read(snapshot.transactions(), rule);
        let mut has_news = false;
        for (table, version) in &progress.versions {
            has_news |= store.snapshot(*table)?.version() > Some(*version);
        }
        let at = (window.end, window.end);
        let stored = stored::windows(context, rule, at)
            .await?
            .remove(&window.end);
        let of_window = format!(
            "rule_id = '{}' AND rule_version = {} AND window_end {{}} TIMESTAMP '{}'",
            rule.id,
            rule.version,
            time_text(window.end)
        );
        let sql = format!(
            "SELECT params FROM evaluations WHERE {} AND state <> 'gap' ORDER BY revision DESC LIMIT 1",
            of_window.replace("{}", "=")
        );
        let params = stored::rows(context, &sql).await?.pop();
        let params = params.and_then(|row| serde_json::from_str(row.get("params")?.as_str()?).ok());
        let gaps = stored::gaps(context, rule, at).await?;
        let is_open = gaps
            .iter()
            .any(|gap| gap.is_open_at(window.end, stored.as_ref()));
        let sql = format!(
            "SELECT run, detail FROM evaluations WHERE {} AND window_start + INTERVAL '{} microseconds' \
             <= TIMESTAMP '{}' AND state = 'gap' ORDER BY run DESC LIMIT 1",
            of_window.replace("{}", ">="),
            rule.window.0,
            time_text(window.end)
        );
        let gap = match is_open {
            true => stored::rows(context, &sql).await?.pop(),
            false => None,
        };
        let gap = match gap {
            Some(row) => {
                let run = row.get("run").and_then(Value::as_i64).unwrap_or(0);
                let detail = row.get("detail").and_then(Value::as_str);
                // Counted once, whatever the number of gaps that a run left.
                let sql = format!(
                    "SELECT sum(late_dropped) AS n FROM evaluations WHERE rule_id = '{}' \
                     AND rule_version = {} AND run = {run}",
                    rule.id, rule.version
                );
                let sum = stored::rows(context, &sql).await?.pop().unwrap_or_default();
                let dropped = sum.get("n").and_then(Value::as_i64).unwrap_or(0);
                Some((detail.unwrap_or_default().to_string(), dropped))
            }
            None => None,
        };
        let mut findings = stored::findings(context, rule, -2_208_988_800_000_000).await?;
        findings.retain(|finding| json::has(&finding.episode.entity, question.entity));
        let lateness = rule.lateness.unwrap_or(RunOptions::default().lateness).0;
        Ok(Standing {
            progress,
            has_news,
            stored: stored.map(|stored| (stored, params)),
            gap,
            findings,
            lateness,
        })
    }

    /// The finding of the subject that the window is part of.
    fn finding(&self, window: Window) -> Option<&Finding> {
        self.findings.iter().find(|finding| {
            let episode = &finding.episode;
            !finding.is_retracted
                && (episode.first_window.end..=episode.last_window.end).contains(&window.end)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::{Case as Test, Pack, SIGNALS, register_views, views};
    use crate::detect::given;
    use crate::detect::slice::SortedTable;
    use crate::parallel::in_parallel;
    use crate::session::{self, SessionOptions};

    /// A context over the rows that a test of a rule gives.
    async fn given_in(file: &RuleFile, test: &Test) -> datafusion::prelude::SessionContext {
        let context = session::context(&SessionOptions {
            target_partitions: Some(1),
            ..SessionOptions::default()
        })
        .expect("a context");
        for (table, batch) in given::tables(&context, test).await.expect("are rows") {
            let rows = SortedTable::new(batch.schema(), &[batch], table.time_column());
            let rows = Arc::new(rows.expect("sorts"));
            context.register_table(table.name(), rows).expect("is new");
        }
        register_views(&context, &views()).await.expect("plan");
        if let Some(batch) = given::signals(&context, file, test)
            .await
            .expect("are rows")
        {
            let rows = SortedTable::new(batch.schema(), &[batch], "event_time").expect("sorts");
            context
                .register_table(SIGNALS, Arc::new(rows))
                .expect("is new");
        }
        context
    }

    /// What the funnel says of a subject: the rows that are returned, or where they ended.
    async fn counted(
        context: &datafusion::prelude::SessionContext,
        file: &RuleFile,
        test: &Test,
        entity: &[(String, String)],
    ) -> (bool, Option<Stop>, Vec<Step>) {
        let prepared = Prepared::new(context, file, &[], None)
            .await
            .expect("plans");
        let mut funnel = Funnel::new(context, prepared.window(test.at));
        let plan = prepared.bound(prepared.window(test.at)).expect("binds");
        let plan = funnel.taken_apart(plan).expect("is taken apart");
        let subject = subject_of(&plan, entity).expect("is of the rule");
        let mut is_left = funnel
            .walk(&plan, subject.clone(), None)
            .await
            .expect("counts");
        if let Some(predicate) = subject.predicate().filter(|_| is_left) {
            let rows = LogicalPlanBuilder::from(plan)
                .filter(predicate)
                .expect("is a filter");
            let rows = funnel
                .rows(rows.build().expect("builds"))
                .await
                .expect("runs");
            is_left = !rows.is_empty();
        }
        (is_left, funnel.stop, funnel.steps)
    }

    /// The funnel is another way through the plan, so it must come to what the rule comes to: on a test of every shipped
    /// rule that finds something, and for the same subject on one that does not. Every tenth rule; INFERWATCH_ALL_RULES
    /// asks for all.
    #[test]
    fn the_funnel_ends_as_every_shipped_rule_does() {
        let pack = Pack::embedded();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let plain = |test: &&Test| test.params.is_empty();
        let finds = |test: &&Test| test.expect.as_ref().is_some_and(|rows| !rows.is_empty());
        let silent = |test: &&Test| test.expect.as_ref().is_some_and(Vec::is_empty);
        let ask = |file: &RuleFile| {
            runtime.block_on(async {
                let tests = || file.cases.iter().filter(plain);
                let Some(positive) = tests().find(finds) else {
                    return 0;
                };
                let context = given_in(file, positive).await;
                let prepared = Prepared::new(&context, file, &[], None)
                    .await
                    .expect("plans");
                let evaluated = prepared.evaluate(positive.at).await;
                let found = evaluated.found.first().expect("the test finds something");
                let entity: Vec<(String, String)> = found
                    .entity
                    .iter()
                    .filter_map(|(name, value)| match value {
                        Value::Null => None,
                        Value::String(text) => Some((name.clone(), text.clone())),
                        other => Some((name.clone(), other.to_string())),
                    })
                    .collect();
                let id = &file.rule.id;
                let (is_left, stop, steps) = counted(&context, file, positive, &entity).await;
                assert!(is_left, "{id}: {entity:?} was lost: {stop:?} {steps:#?}");
                let Some(negative) = tests().find(silent) else {
                    return 1;
                };
                let context = given_in(file, negative).await;
                let prepared = Prepared::new(&context, file, &[], None)
                    .await
                    .expect("plans");
                if prepared.evaluate(negative.at).await.state != State::Clear {
                    return 1;
                }
                let (is_left, stop, steps) = counted(&context, file, negative, &entity).await;
                assert!(!is_left, "{id}: {entity:?} is returned");
                assert!(
                    stop.is_some(),
                    "{id}: {entity:?} was lost and nobody knows where: {steps:#?}"
                );
                2
            })
        };
        let step = match std::env::var_os("INFERWATCH_ALL_RULES") {
            Some(_) => 1,
            None => 10,
        };
        let rules: Vec<&RuleFile> = pack.rules.iter().step_by(step).collect();
        let wanted = rules.len() * 3 / 2;
        let asked: usize = in_parallel(rules, 2, ask).into_iter().sum();
        assert!(asked > wanted, "{asked}");
    }
}
