-- /// panel
-- id          = "availability"
-- title       = "Availability"
-- board       = "reliability"
-- position    = 1
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "percent"
-- thresholds  = [{ value = 0.995, level = "warning", below = true }, { value = 0.99, level = "critical", below = true }]
-- drill_down  = "/rules/slo-burn-rate"
-- description = """
-- Share of the calls that the service did not fail, as the rule slo-burn-rate counts: errors of the service,
-- throttling and timeouts are failures, wrong or refused requests are none. The objective is 99.5 %."""
-- ///
SELECT
    1.0 - count(*) FILTER (WHERE event_time >= $from AND is_error) * 1.0
        / nullif(count(*) FILTER (WHERE event_time >= $from), 0) AS value,
    1.0 - count(*) FILTER (WHERE event_time < $from AND is_error) * 1.0
        / nullif(count(*) FILTER (WHERE event_time < $from), 0) AS previous
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
