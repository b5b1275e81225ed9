//! Boards and panels as whoever draws them sees them: everything but the data.

use serde_json::{Value, json};

use crate::catalog::{Board, Dashboards, DrillDown, Panel};

/// A board with its panels.
pub fn board(dashboards: &Dashboards, board: &Board) -> Value {
    let panels = dashboards.panels_of(&board.id).map(panel);
    json!({
        "id": board.id,
        "title": board.title,
        "description": board.description,
        "range_seconds": board.range.0 / 1_000_000,
        "panels": panels.collect::<Vec<_>>(),
    })
}

/// A panel.
pub fn panel(panel: &Panel) -> Value {
    let thresholds = panel.thresholds.iter().map(|threshold| {
        json!({"value": threshold.value, "level": threshold.level, "below": threshold.below})
    });
    let drill_down = panel
        .drill_down
        .as_ref()
        .map(|drill_down| match drill_down {
            DrillDown::Link(link) => json!({"link": link}),
            DrillDown::Sql(sql) => json!({"sql": sql}),
        });
    json!({
        "id": panel.id,
        "title": panel.title,
        "description": panel.description,
        "size": panel.size.name(),
        "chart": panel.chart.name(),
        "unit": panel.unit.name(),
        "scale": if panel.is_log { "log" } else { "linear" },
        "empty": panel.empty.name(),
        "thresholds": thresholds.collect::<Vec<_>>(),
        "refresh_seconds": panel.refresh.0 / 1_000_000,
        "drill_down": drill_down,
    })
}
