//! The generated pages of `docs/`: what the program says of itself, written down, and kept current by these tests.
//!
//! `INFERWATCH_WRITE_DOCS=1 cargo test --test it docs` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use datafusion::execution::FunctionRegistry as _;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::registry::MemoryFunctionRegistry;
use inferwatch::catalog::{Pack, RuleFile};
use inferwatch::cli::Cli;
use inferwatch::schema::Table;

const NOTE: &str = "<!-- Generated; see tests/it/docs.rs. -->\n\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Compares pages below `docs/` with what they should be, or writes them.
fn keep_current(pages: &BTreeMap<String, String>) {
    let write = std::env::var_os("INFERWATCH_WRITE_DOCS").is_some();
    let mut stale = Vec::new();
    for (name, text) in pages {
        let path = docs().join(name);
        let text = format!("{NOTE}{}\n", text.trim_end());
        if fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        if write {
            fs::create_dir_all(path.parent().expect("below docs")).expect("the folder is ours");
            fs::write(&path, text).expect("the page is ours");
        } else {
            stale.push(name.as_str());
        }
    }
    assert_eq!(
        stale, [""; 0],
        "run `INFERWATCH_WRITE_DOCS=1 cargo test --test it docs`"
    );
}

/// A cell of a table, or a line of a list: no line break, no bar that would end the cell.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[test]
fn the_function_reference_is_current() {
    let mut registry = MemoryFunctionRegistry::new();
    inferwatch_udfs::register_all(&mut registry).expect("takes functions");
    let mut sections: BTreeMap<String, BTreeMap<String, &Documentation>> = BTreeMap::new();
    let scalars = registry
        .udfs()
        .into_iter()
        .map(|name| registry.udf(&name).expect("registered"));
    let scalars: Vec<_> = scalars.collect();
    let aggregates: Vec<_> = registry
        .udafs()
        .into_iter()
        .map(|name| registry.udaf(&name).expect("registered"))
        .collect();
    let windows: Vec<_> = registry
        .udwfs()
        .into_iter()
        .map(|name| registry.udwf(&name).expect("registered"))
        .collect();
    let all = scalars
        .iter()
        .map(|function| (function.name(), function.documentation()))
        .chain(
            aggregates
                .iter()
                .map(|function| (function.name(), function.documentation())),
        )
        .chain(
            windows
                .iter()
                .map(|function| (function.name(), function.documentation())),
        );
    for (name, documentation) in all {
        let documentation = documentation.unwrap_or_else(|| panic!("`{name}` is documented"));
        let section = sections
            .entry(documentation.doc_section.label.to_owned())
            .or_default();
        section.insert(name.to_owned(), documentation);
    }
    let mut page = String::from(
        "# Functions\n\nBesides those of DataFusion. Each example is run by the tests.\n",
    );
    for (label, functions) in &sections {
        let _ = writeln!(page, "\n## {label}");
        for (name, documentation) in functions {
            let _ = writeln!(
                page,
                "\n### `{name}`\n\n{}\n",
                documentation.description.trim()
            );
            let _ = writeln!(page, "```sql\n{}\n```", documentation.syntax_example.trim());
            for other in documentation.alternative_syntax.iter().flatten() {
                let _ = writeln!(page, "\n```sql\n{}\n```", other.trim());
            }
            if let Some(arguments) = &documentation.arguments {
                page.push('\n');
                for (argument, meaning) in arguments {
                    let _ = writeln!(page, "- `{argument}`: {}", cell(meaning));
                }
            }
            if let Some(example) = &documentation.sql_example {
                let _ = writeln!(page, "\n{}", example.trim());
            }
        }
    }
    keep_current(&BTreeMap::from([("functions.md".to_owned(), page)]));
}

#[test]
fn the_reference_of_tables_is_current() {
    let mut page = String::from(
        "# Tables\n\nTimes are UTC with microseconds. Every table is a Delta table below the store's folder.\n",
    );
    for table in Table::ALL {
        let schema = table.schema();
        let _ = writeln!(
            page,
            "\n## `{}`\n\n| column | type | meaning |\n| --- | --- | --- |",
            table.name()
        );
        for (name, meaning) in table.descriptions() {
            let field = schema
                .field_with_name(name)
                .expect("described columns exist");
            let required = if field.is_nullable() {
                ""
            } else {
                ", never null"
            };
            let data_type = field.data_type().to_string();
            let _ = writeln!(
                page,
                "| `{name}` | {}{required} | {} |",
                cell(&data_type),
                cell(meaning)
            );
        }
    }
    keep_current(&BTreeMap::from([("tables.md".to_owned(), page)]));
}

/// Not below `docs`, and no page.
#[test]
fn the_dashboard_of_grafana_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana-dashboard.json");
    let written = inferwatch::dashboard::grafana(&inferwatch::catalog::Dashboards::embedded());
    let written = format!("{written:#}\n");
    if std::env::var_os("INFERWATCH_WRITE_DOCS").is_some() {
        fs::write(&path, &written).expect("the file is ours");
    }
    assert!(
        fs::read_to_string(&path).is_ok_and(|text| text == written),
        "run `INFERWATCH_WRITE_DOCS=1 cargo test --test it docs`"
    );
}

#[test]
fn the_reference_of_the_command_line_is_current() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut page = String::from("# Command line\n");
    describe(&mut command, 2, &mut page);
    keep_current(&BTreeMap::from([("command-line.md".to_owned(), page)]));
}

fn describe(command: &mut clap::Command, level: usize, page: &mut String) {
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = writeln!(
        page,
        "\n{} `{name}`\n\n```text\n{}\n```",
        "#".repeat(level),
        lines.join("\n")
    );
    for inner in command
        .get_subcommands_mut()
        .filter(|inner| inner.get_name() != "help")
    {
        describe(inner, level + 1, page);
    }
}

/// The folder a rule's file stands in.
fn family(file: &RuleFile) -> String {
    let folder = file.path.parent().and_then(Path::file_name);
    folder
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[test]
fn the_pages_of_the_rules_are_current() {
    let pack = Pack::embedded();
    let mut pages = BTreeMap::new();
    let mut families: BTreeMap<String, Vec<&RuleFile>> = BTreeMap::new();
    for file in &pack.rules {
        families.entry(family(file)).or_default().push(file);
        pages.insert(format!("rules/{}.md", file.rule.id), rule_page(file));
    }
    let mut index = format!(
        "# Rules\n\n{} rules ship inside the program. [How a rule file is written](../rules.md).\n",
        pack.rules.len()
    );
    for (family, files) in &families {
        let _ = writeln!(
            index,
            "\n## {family}\n\n| rule | finds | severity | window, every | ATLAS | OWASP |\n| --- | --- | --- | --- | --- | --- |"
        );
        for RuleFile { rule, .. } in files {
            let _ = writeln!(
                index,
                "| [{id}]({id}.md) | {} | {} | {}, {} | {} | {} |",
                cell(&rule.title),
                rule.severity.name(),
                rule.window,
                rule.every,
                rule.atlas.join(", "),
                rule.owasp.join(", "),
                id = rule.id,
            );
        }
    }
    pages.insert("rules/README.md".to_owned(), index);
    keep_current(&pages);
    let extra: BTreeSet<String> = fs::read_dir(docs().join("rules"))
        .expect("the folder of the pages")
        .map(|entry| {
            format!(
                "rules/{}",
                entry.expect("readable").file_name().to_string_lossy()
            )
        })
        .filter(|name| !pages.contains_key(name))
        .collect();
    assert!(extra.is_empty(), "pages of rules that are gone: {extra:?}");
}

fn rule_page(file: &RuleFile) -> String {
    let rule = &file.rule;
    let mut page = format!("# {}\n\n{}\n\n", rule.title, rule.description.trim());
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(page, "| {name} | {} |", cell(&value));
        }
    };
    row("rule", format!("`{}`, version {}", rule.id, rule.version));
    row("---", "---".to_owned());
    row("status", rule.status.name().to_owned());
    row(
        "severity, confidence",
        format!("{}, {}", rule.severity.name(), rule.confidence.name()),
    );
    row("reads", rule.source.join(", "));
    row("needs", rule.requires.join(", "));
    if let Some(correlation) = &rule.correlation {
        let mut signals: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for signal in &correlation.signals {
            signals.entry(&signal.alias).or_default().push(&signal.rule);
        }
        let signals = signals
            .into_iter()
            .map(|(alias, rules)| format!("{alias}: {}", rules.join(", ")));
        row("signals", signals.collect::<Vec<_>>().join("; "));
        row("within", correlation.within.to_string());
    }
    row("window, every", format!("{}, {}", rule.window, rule.every));
    row(
        "history",
        rule.baseline
            .map(|span| span.to_string())
            .unwrap_or_default(),
    );
    row("a finding is about", rule.entity.join(", "));
    row("ATLAS", rule.atlas.join(", "));
    row("OWASP", rule.owasp.join(", "));
    row("ATT&CK", rule.attack.join(", "));
    if !rule.params.is_empty() {
        page.push_str(
            "\n## Parameters\n\n| parameter | default | meaning |\n| --- | --- | --- |\n",
        );
        for param in &rule.params {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                param.name,
                cell(&param.default.json().to_string()),
                cell(&param.doc)
            );
        }
    }
    let lists = [
        ("False positives", &rule.false_positives),
        ("Blind spots", &rule.evasion),
        ("References", &rule.references),
    ];
    for (heading, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        let _ = writeln!(page, "\n## {heading}\n");
        for item in items {
            let _ = writeln!(page, "- {}", cell(item));
        }
    }
    if let Some(runbook) = &rule.runbook {
        let _ = writeln!(page, "\n## What to do\n\n{}", runbook.trim());
    }
    let _ = writeln!(page, "\n## Query\n\n```sql\n{}\n```", file.sql.trim());
    if !file.cases.is_empty() {
        page.push_str("\n## Tests\n\n");
        for case in &file.cases {
            let _ = writeln!(page, "- {}", cell(&case.name));
        }
    }
    page
}
