//! Boards for Grafana, which asks over the Postgres protocol: the same panels, with Grafana's macros in the place of their
//! parameters. A drill-down stays behind, since it leads to pages of ours.

use serde_json::{Value, json};

use crate::catalog::{Chart, Dashboards, Empty, Panel, Size, Threshold, Unit, fill};
use crate::query::lexer::tokens;

/// Grafana's grid is so wide.
const WIDTH: u64 = 24;
/// The source of PostgreSQL that a person chooses on the dashboard.
const SOURCE: &str = "grafana-postgresql-datasource";

/// One dashboard with a row of panels for each board.
pub fn grafana(dashboards: &Dashboards) -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for board in &dashboards.boards {
        panels.push(json!({
            "id": panels.len() + 1,
            "type": "row",
            "title": board.title,
            "collapsed": false,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        }));
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for one in dashboards.panels_of(&board.id) {
            let (width, height) = extent(one);
            if left + width > WIDTH {
                (left, top, tallest) = (0, top + tallest, 0);
            }
            let mut value = panel(one);
            value["id"] = (panels.len() + 1).into();
            value["gridPos"] = json!({"x": left, "y": top, "w": width, "h": height});
            panels.push(value);
            left += width;
            tallest = tallest.max(height);
        }
        top += tallest;
    }
    let text = |name: &str, label: &str| json!({"type": "textbox", "name": name, "label": label, "query": "", "current": {"text": "", "value": ""}});
    json!({
        "title": "inferwatch",
        "uid": "inferwatch",
        "description": "The boards of inferwatch, over its Postgres port. Written by `inferwatch dashboard grafana`.",
        "tags": ["inferwatch"],
        "schemaVersion": 39,
        "timezone": "utc",
        "editable": true,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Source", "query": SOURCE},
            text("caller", "Caller"),
            text("model", "Model"),
        ]},
        "panels": panels,
    })
}

fn extent(panel: &Panel) -> (u64, u64) {
    let width = match panel.size {
        Size::Quarter => WIDTH / 4,
        Size::Third => WIDTH / 3,
        Size::Half => WIDTH / 2,
        Size::TwoThirds => WIDTH * 2 / 3,
        Size::Full => WIDTH,
    };
    match panel.chart {
        Chart::Stat => (width, 4),
        _ => (width, 9),
    }
}

fn panel(panel: &Panel) -> Value {
    let source = json!({"type": SOURCE, "uid": "${datasource}"});
    let over_time = panel.chart.is_over_time();
    let mut value = json!({
        "type": match panel.chart {
            Chart::Stat => "stat",
            Chart::Table => "table",
            Chart::Line | Chart::Bar | Chart::Stacked | Chart::Heat => "timeseries",
        },
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "targets": [{
            "refId": "A",
            "datasource": source,
            "format": if over_time { "time_series" } else { "table" },
            "editorMode": "code",
            "rawQuery": true,
            "rawSql": sql(panel),
        }],
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        "options": match panel.chart {
            // What it was before stands beside it in our own boards.
            Chart::Stat => json!({"reduceOptions": {"calcs": ["lastNotNull"], "fields": "/^value$/", "values": false}}),
            Chart::Table => json!({}),
            _ => json!({"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}),
        },
    });
    if let Some(bucket) = panel.bucket {
        // The shortest step; Grafana makes longer ones for longer ranges.
        value["interval"] = format!("{}s", bucket.0 / 1_000_000).into();
    }
    value
}

/// The panel's query with what Grafana puts into it. A filter that is empty is none.
fn sql(panel: &Panel) -> String {
    let filled = fill(panel.sql.trim().trim_end_matches(';'), |name| {
        Some(match name {
            "from" => "TIMESTAMP $__timeFrom()".to_owned(),
            "to" => "TIMESTAMP $__timeTo()".to_owned(),
            "previous" => {
                let length = "(TIMESTAMP $__timeTo() - TIMESTAMP $__timeFrom())";
                format!("(TIMESTAMP $__timeFrom() - {length})")
            }
            "bucket" => "INTERVAL '$__interval_ms milliseconds'".to_owned(),
            "bucket_seconds" => "($__interval_ms / 1000.0)".to_owned(),
            "caller" | "model" => format!("nullif(${{{name}:sqlstring}}, '')"),
            _ => return None,
        })
    });
    match panel.chart {
        // Every number is a line there, and the order of the classes is none.
        Chart::Heat => {
            format!("SELECT time, series, value\nFROM (\n{filled}\n) AS steps\nORDER BY time")
        }
        _ => filled,
    }
}

fn defaults(panel: &Panel) -> Value {
    let mut value = json!({"unit": unit(panel.unit), "thresholds": thresholds(&panel.thresholds)});
    // A row for each series, or a column for each: the former say so, and nothing else of a query has this name.
    if tokens(&panel.sql)
        .iter()
        .any(|token| token.text(&panel.sql) == "series")
    {
        value["displayName"] = "${__field.labels.series}".into();
    }
    if panel.chart == Chart::Table {
        value["unit"] = Value::Null;
    }
    if !panel.chart.is_over_time() {
        return value;
    }
    let is_line = panel.chart == Chart::Line;
    let is_stacked = matches!(panel.chart, Chart::Stacked | Chart::Heat);
    value["custom"] = json!({
        "drawStyle": if is_line { "line" } else { "bars" },
        "fillOpacity": if is_line { 0 } else { 80 },
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": panel.empty == Empty::Gap,
        "stacking": {"mode": if is_stacked { "normal" } else { "none" }},
        "scaleDistribution": if panel.is_log { json!({"type": "log", "log": 10}) } else { json!({"type": "linear"}) },
        "thresholdsStyle": {"mode": if panel.thresholds.is_empty() { "off" } else { "line" }},
    });
    value
}

/// Steps of colour, from below. Where less is worse, what is below a threshold has its colour.
fn thresholds(all: &[Threshold]) -> Value {
    let colour = |level: &str| match level {
        "critical" => "red",
        "warning" => "orange",
        _ => "blue",
    };
    let mut sorted: Vec<&Threshold> = all.iter().collect();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut steps = vec![json!({"color": "green", "value": null})];
    for threshold in sorted {
        match (threshold.below, steps.last_mut()) {
            (true, Some(before)) => {
                before["color"] = colour(threshold.level).into();
                steps.push(json!({"color": "green", "value": threshold.value}));
            }
            _ => steps.push(json!({"color": colour(threshold.level), "value": threshold.value})),
        }
    }
    json!({"mode": "absolute", "steps": steps})
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count | Unit::Tokens => "short",
        Unit::PerSecond => "cps",
        Unit::PerMinute => "cpm",
        Unit::Usd | Unit::UsdPerHour => "currencyUSD",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::Percent => "percentunit",
        Unit::Bytes => "bytes",
        Unit::PValue => "sci",
        Unit::PerHour | Unit::Times | Unit::Bits | Unit::Number => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_is_there_and_no_parameter_is_left() {
        let dashboards = Dashboards::embedded();
        let written = grafana(&dashboards);
        let panels = written["panels"].as_array().expect("panels");
        assert_eq!(
            panels.len(),
            dashboards.panels.len() + dashboards.boards.len()
        );
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let sql = panel["targets"][0]["rawSql"].as_str().expect("a query");
            for left in ["$from", "$to", "$previous", "$bucket", "$caller", "$model"] {
                assert!(!sql.contains(left), "{left} in {sql}");
            }
            assert!(sql.contains("TIMESTAMP $__timeFrom()"), "{sql}");
            let place = &panel["gridPos"];
            assert!(place["x"].as_u64() <= Some(WIDTH) && place["w"].as_u64() > Some(0));
        }
    }

    #[test]
    fn colours_change_where_the_thresholds_are() {
        let threshold = |value, level, below| Threshold {
            value,
            level,
            below,
        };
        let colours = |all: &[Threshold]| {
            let steps = thresholds(all);
            let steps = steps["steps"].as_array().expect("steps").clone();
            let steps = steps.iter();
            steps
                .map(|step| (step["value"].as_f64(), step["color"].to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            colours(&[
                threshold(0.2, "critical", false),
                threshold(0.05, "warning", false)
            ]),
            [
                (None, "\"green\"".to_owned()),
                (Some(0.05), "\"orange\"".to_owned()),
                (Some(0.2), "\"red\"".to_owned())
            ]
        );
        assert_eq!(
            colours(&[threshold(0.99, "critical", true)]),
            [
                (None, "\"red\"".to_owned()),
                (Some(0.99), "\"green\"".to_owned())
            ]
        );
    }
}
