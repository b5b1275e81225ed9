-- /// panel
-- id          = "budget-left"
-- title       = "Error budget left"
-- board       = "reliability"
-- position    = 2
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "percent"
-- thresholds  = [{ value = 0.25, level = "warning", below = true }, { value = 0, level = "critical", below = true }]
-- drill_down  = "/rules/slo-burn-rate"
-- description = """
-- What is left of the failures that an objective of 99.5 % allows in the range; below zero when there were more."""
-- ///
SELECT
    1.0 - count(*) FILTER (WHERE event_time >= $from AND is_error)
        / nullif(count(*) FILTER (WHERE event_time >= $from) * 0.005, 0) AS value,
    1.0 - count(*) FILTER (WHERE event_time < $from AND is_error)
        / nullif(count(*) FILTER (WHERE event_time < $from) * 0.005, 0) AS previous
FROM (
    SELECT
        event_time,
        coalesce(
            outcome = 'failure'
            AND (http_status_code IS NULL OR http_status_code >= 500 OR http_status_code IN (408, 429)),
            FALSE
        ) AS is_error
    FROM calls_merged
    WHERE event_time >= $previous AND event_time < $to
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
)
