//! The header of a correlation: which rules' findings it looks for together, and the query that this means.
//!
//! A correlation says what it wants in its header, and [`Correlation::sql`] writes the query over the table `signals`:
//! one row for each time that a finding of another rule tells of. What is looked for is anchored at every such row, so
//! no edge of a window cuts anything: a window only says which rows are the last of what is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use toml::de::DeValue;

use super::header::{Section, integer};
use super::rule::Rule;
use super::span::Span;
use super::view::timestamp;

/// Stands for every rule that has what the correlation is by.
pub(crate) const EVERY_RULE: &str = "*";

/// The table that a correlation reads.
pub const SIGNALS: &str = "signals";

/// The columns of `signals` besides those of `by`.
const COLUMNS: [&str; 10] = [
    "event_time",
    "signal",
    "rule_id",
    "finding_id",
    "severity",
    "technique",
    "score",
    "risk",
    "event_count",
    "window_end",
];

/// One of the rules that a correlation looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its id, or `*` for every rule.
    pub rule: String,
    /// What it counts as. Several rules may count as the same.
    pub alias: String,
}

/// How much must come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Required {
    /// So many different signals.
    Signals(i64),
    /// Of each of these signals so many different rules.
    Rules(BTreeMap<String, i64>),
}

/// What a correlation looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The rules.
    pub signals: Vec<Signal>,
    /// How many of them.
    pub required: Required,
    /// How far apart at most.
    pub within: Span,
    /// Columns that they have in common.
    pub by: Vec<String>,
    /// Signals that must come one after the other; empty for any order.
    pub order: Vec<String>,
    /// Signals that must not be there.
    pub absent: Vec<String>,
    /// What the columns of `by` are called in a rule that calls them otherwise.
    pub on: BTreeMap<String, Vec<String>>,
    /// Whether the file has a query of its own.
    pub has_query: bool,
}

impl Correlation {
    /// Reads the keys that a correlation has in place of a window and a source.
    pub(super) fn read(section: &Section<'_, '_>) -> Option<Correlation> {
        let signals = signals(section);
        let within = section.required("within", Section::span);
        let by = section.required("by", |section, key| Some(section.texts(key)));
        let order = order(section);
        let absent = section.texts("absent");
        let required = required(section);
        let on = section.table("on", |value| match value.get_ref() {
            DeValue::String(column) => Some(vec![column.to_string()]),
            DeValue::Array(columns) => columns
                .iter()
                .map(|column| column.get_ref().as_str().map(str::to_string))
                .collect(),
            _ => None,
        });
        let by = by?;
        let required = required.unwrap_or(match order.is_empty() {
            true => Required::Signals(0),
            false => Required::Signals(order.len() as i64),
        });
        Some(Correlation {
            signals,
            required,
            within: within?,
            by,
            order,
            absent,
            on,
            has_query: false,
        })
    }

    /// What one key alone cannot tell.
    pub(super) fn check(&self, section: &Section<'_, '_>) {
        let fault = |key: &str, message: String| section.fault_at(key, message);
        let aliases = self.aliases();
        let mut rules = BTreeSet::new();
        for signal in &self.signals {
            if !rules.insert(&signal.rule) {
                fault("signals", format!("`{}` is named twice", signal.rule));
            }
        }
        for column in &self.by {
            if COLUMNS.contains(&column.as_str()) {
                fault(
                    "by",
                    format!("`{column}` cannot be what signals have in common"),
                );
            }
        }
        for (key, names) in [("order", &self.order), ("absent", &self.absent)] {
            let mut seen = BTreeSet::new();
            for name in names {
                if !aliases.contains(name.as_str()) {
                    fault(key, format!("no signal is `{name}`"));
                } else if !seen.insert(name) {
                    fault(key, format!("`{name}` is named twice"));
                }
            }
        }
        for rule in self.on.keys() {
            if !rules.contains(rule) && !rules.contains(&EVERY_RULE.to_string()) {
                fault("on", format!("`{rule}` is not one of the signals"));
            }
        }
        for (rule, columns) in &self.on {
            if columns.len() != self.by.len() {
                fault(
                    "on",
                    format!("`{rule}` needs a column for each of `by`, in its order"),
                );
            }
        }
        if let Some(name) = self.absent.iter().find(|name| self.order.contains(name)) {
            fault(
                "absent",
                format!("`{name}` cannot be absent and have a place in the order"),
            );
        }
        let there = aliases
            .iter()
            .filter(|alias| !self.absent.iter().any(|absent| absent == *alias))
            .count() as i64;
        match &self.required {
            Required::Signals(wanted) if !self.order.is_empty() => {
                if *wanted != self.order.len() as i64 {
                    fault(
                        "signals_required",
                        "with an `order`, every signal in it is required".into(),
                    );
                }
            }
            Required::Signals(wanted) => {
                if *wanted < 0 || *wanted > there {
                    fault(
                        "signals_required",
                        format!(
                            "`signals_required` must lie between 1 and {there}, the signals there are"
                        ),
                    );
                }
            }
            Required::Rules(counts) => {
                for (alias, wanted) in counts {
                    let rules = self.signals.iter().filter(|signal| signal.alias == *alias);
                    let rules = rules.count() as i64;
                    if *wanted < 1 || *wanted > rules || self.absent.contains(alias) {
                        fault(
                            "signals_required",
                            format!(
                                "{wanted} of `{alias}`: so many rules are not among its {rules}"
                            ),
                        );
                    }
                }
            }
        }
    }

    /// Whether header and query together say what is required, once.
    ///
    /// # Errors
    /// What is missing or said twice.
    pub(super) fn is_whole(&self) -> Result<(), &'static str> {
        let says_nothing = self.required == Required::Signals(0);
        match (self.has_query, says_nothing && self.absent.is_empty()) {
            (true, false) => Err(
                "the file has a query of its own, which says what is required: leave out `signals_required`, `order` and `absent`",
            ),
            (false, _) if says_nothing => {
                Err("`signals_required` is missing: how many different signals must come together")
            }
            _ => Ok(()),
        }
    }

    /// The different names of signals, in their order.
    pub fn aliases(&self) -> BTreeSet<&str> {
        self.signals
            .iter()
            .map(|signal| signal.alias.as_str())
            .collect()
    }

    /// Why an open window is not looked at; `None` when more signals can only add to what is found.
    pub(crate) fn waits(&self) -> Option<&'static str> {
        if self.has_query {
            return Some("it has a query of its own");
        }
        (!self.absent.is_empty()).then_some("a signal that must be absent may still come")
    }

    /// The columns of the table that its query reads.
    pub fn schema(&self) -> SchemaRef {
        let text = DataType::Utf8;
        let time = timestamp(0).data_type();
        let own = COLUMNS.iter().map(|name| {
            let data_type = match *name {
                "event_time" | "window_end" => time.clone(),
                "score" | "risk" => DataType::Float64,
                "event_count" => DataType::Int64,
                _ => text.clone(),
            };
            Field::new(*name, data_type, true)
        });
        let by = self
            .by
            .iter()
            .map(|name| Field::new(name, text.clone(), true));
        Arc::new(Schema::new(own.chain(by).collect::<Vec<_>>()))
    }

    /// The keys that decide what it finds.
    pub(super) fn meaning(&self) -> String {
        format!("{self:?}")
    }

    /// The query that the header means. `every` is the step between its windows.
    pub fn sql(&self, every: Span) -> String {
        let by: Vec<String> = self.by.iter().map(|column| quoted(column)).collect();
        let by = by.join(", ");
        // The interval is closed at its beginning, and what lies `within` back must not count.
        let frame = format!(
            "PARTITION BY {by} ORDER BY event_time RANGE BETWEEN {} PRECEDING AND CURRENT ROW",
            interval(self.within.0 - 1)
        );
        let mut sql =
            format!("WITH step_0 AS (\n    SELECT {by}, event_time, signal, rule_id, finding_id");
        let mut conditions = Vec::new();
        let mut flag = 0;
        let mut flags = |sql: &mut String, column: &str, name: &str| {
            flag += 1;
            let name = literal(name);
            let _ = write!(
                sql,
                ",\n        max(CASE WHEN {column} = {name} THEN 1 ELSE 0 END) OVER ({frame}) AS has_{flag}"
            );
            format!("has_{flag}")
        };
        match &self.required {
            _ if !self.order.is_empty() => {}
            Required::Signals(wanted) => {
                let aliases = self.aliases();
                let wanted_ones = aliases
                    .iter()
                    .filter(|alias| !self.absent.iter().any(|absent| absent == *alias));
                let sum: Vec<String> = wanted_ones
                    .map(|alias| flags(&mut sql, "signal", alias))
                    .collect();
                conditions.push(format!("{} >= {wanted}", sum.join(" + ")));
            }
            Required::Rules(counts) => {
                for (alias, wanted) in counts {
                    let rules = self.signals.iter().filter(|signal| signal.alias == *alias);
                    let sum: Vec<String> = rules
                        .map(|signal| flags(&mut sql, "rule_id", &signal.rule))
                        .collect();
                    conditions.push(format!("{} >= {wanted}", sum.join(" + ")));
                }
            }
        }
        for alias in &self.absent {
            conditions.push(format!("{} = 0", flags(&mut sql, "signal", alias)));
        }
        if let Some(first) = self.order.first() {
            let _ = write!(
                sql,
                ",\n        CASE WHEN signal = {} THEN event_time END AS start_1",
                literal(first)
            );
        }
        let _ = write!(
            sql,
            "\n    FROM {SIGNALS}\n    WHERE event_time >= $window_start AND event_time < $window_end\n)"
        );
        // Of all chains that end in a row, the one that began last is the shortest.
        for (index, alias) in self.order.iter().enumerate().skip(1) {
            let _ = write!(
                sql,
                ",\nstep_{index} AS (\n    SELECT *, CASE WHEN signal = {} THEN max(start_{index}) OVER \
                 (PARTITION BY {by} ORDER BY event_time RANGE UNBOUNDED PRECEDING) END AS start_{}\n    FROM step_{}\n)",
                literal(alias),
                index + 1,
                index - 1,
            );
        }
        let last = self.order.len().saturating_sub(1);
        if !self.order.is_empty() {
            let within = interval(self.within.0);
            conditions.push(format!("start_{} > event_time - {within}", last + 1));
        }
        let _ = write!(
            sql,
            ",\nmatched AS (\n    SELECT *, CASE WHEN event_time >= $window_end - {} AND {} THEN event_time END AS match_time\n    \
             FROM step_{last}\n),\nspanned AS (\n    SELECT *, min(match_time) OVER (PARTITION BY {by}) AS first_match, \
             max(match_time) OVER (PARTITION BY {by}) AS last_match\n    FROM matched\n)\n",
            interval(every.0),
            conditions.join(" AND "),
        );
        let _ = write!(
            sql,
            "SELECT {by}, count(DISTINCT finding_id) AS event_count, min(event_time) AS first_seen, \
             max(event_time) AS last_seen,\n    array_agg(DISTINCT signal ORDER BY signal) AS signals, \
             array_agg(DISTINCT rule_id ORDER BY rule_id) AS rules,\n    \
             array_agg(DISTINCT finding_id ORDER BY finding_id) AS findings\nFROM spanned\n\
             WHERE event_time > first_match - {} AND event_time <= last_match\nGROUP BY {by};\n",
            interval(self.within.0),
        );
        sql
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A span as SQL has it.
fn interval(micros: i64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    match rest {
        0 => format!("INTERVAL '{seconds} seconds'"),
        _ => format!("INTERVAL '{seconds}.{rest:06} seconds'"),
    }
}

fn signals(section: &Section<'_, '_>) -> Vec<Signal> {
    let Some(value) = section.required("signals", |section, key| section.get(key)) else {
        return Vec::new();
    };
    let signal = |rule: &str, alias: Option<&str>| Signal {
        rule: rule.to_string(),
        alias: alias.unwrap_or(rule).to_string(),
    };
    let items = match value.get_ref() {
        DeValue::Array(items) if !items.is_empty() => items,
        _ => {
            section.fault(
                value,
                "`signals` must be a list: [{ rule = \"id\", as = \"name\" }]",
            );
            return Vec::new();
        }
    };
    let mut signals = Vec::new();
    for item in items {
        let read = match item.get_ref() {
            DeValue::String(rule) => Some(signal(rule, None)),
            DeValue::Table(table) => {
                let text = |key: &str| table.get(key).map(|value| value.get_ref().as_str());
                let is_known = table
                    .keys()
                    .all(|key| matches!(key.get_ref().as_ref(), "rule" | "as"));
                match (is_known, text("rule"), text("as")) {
                    (true, Some(Some(rule)), None) => Some(signal(rule, None)),
                    (true, Some(Some(rule)), Some(Some(alias))) => Some(signal(rule, Some(alias))),
                    _ => None,
                }
            }
            _ => None,
        };
        match read {
            Some(signal) => signals.push(signal),
            None => section.fault(item, "a signal is { rule = \"id\", as = \"name\" }"),
        }
    }
    signals
}

fn order(section: &Section<'_, '_>) -> Vec<String> {
    let is_any = section
        .get("order")
        .is_some_and(|value| value.get_ref().as_str() == Some("any"));
    match is_any {
        true => Vec::new(),
        false => section.texts("order"),
    }
}

fn required(section: &Section<'_, '_>) -> Option<Required> {
    let value = section.get("signals_required")?;
    if let DeValue::Table(table) = value.get_ref() {
        let counts = table.iter().filter_map(|(alias, count)| {
            let number = integer(count.get_ref());
            if number.is_none() {
                section.fault(count, "how many rules of a signal is a whole number");
            }
            Some((alias.get_ref().to_string(), number?))
        });
        return Some(Required::Rules(counts.collect()));
    }
    section.integer("signals_required").map(Required::Signals)
}

/// A rule that a correlation looks for, found in its pack.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkedSignal {
    /// What it counts as.
    pub alias: String,
    /// Its header.
    pub rule: Arc<Rule>,
    /// The columns that it calls those of `by`.
    pub columns: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlation() -> Correlation {
        let signal = |rule: &str, alias: &str| Signal {
            rule: rule.into(),
            alias: alias.into(),
        };
        Correlation {
            signals: vec![signal("r-1", "a"), signal("r-2", "b"), signal("r-3", "b")],
            required: Required::Signals(2),
            within: Span::minutes(10),
            by: vec!["caller".into()],
            order: Vec::new(),
            absent: Vec::new(),
            on: BTreeMap::new(),
            has_query: false,
        }
    }

    #[test]
    fn what_lies_exactly_within_back_does_not_count() {
        let sql = correlation().sql(Span::minutes(1));
        assert!(
            sql.contains("INTERVAL '599.999999 seconds' PRECEDING"),
            "{sql}"
        );
        assert!(sql.contains("$window_end - INTERVAL '60 seconds'"), "{sql}");
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let mut correlation = correlation();
        correlation.signals[0].alias = "x' OR '1' = '1".into();
        correlation.by = vec!["a\"b".into()];
        let sql = correlation.sql(Span::minutes(1));
        assert!(sql.contains("'x'' OR ''1'' = ''1'"), "{sql}");
        assert!(sql.contains("PARTITION BY \"a\"\"b\""), "{sql}");
    }

    #[test]
    fn absence_waits_and_presence_does_not() {
        let mut correlation = correlation();
        assert_eq!(correlation.waits(), None);
        correlation.absent = vec!["b".into()];
        assert!(correlation.waits().is_some());
    }
}
