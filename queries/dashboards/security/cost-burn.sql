-- /// panel
-- id          = "cost-burn"
-- title       = "Cost burn per hour"
-- board       = "security"
-- position    = 10
-- size        = "half"
-- chart       = "stacked"
-- unit        = "usd_per_hour"
-- bucket      = "15m"
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(model_family, model, '(unknown)') = $series)
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Dollars an hour, by model: the six that cost most and all others together. Calls without a known price are not in
-- it."""
-- ///
WITH costs AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(model_family, model, '(unknown)') AS model,
        sum(cost_usd) AS cost
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND cost_usd IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(model_family, model, '(unknown)')
),

largest AS (
    SELECT model
    FROM costs
    GROUP BY model
    ORDER BY sum(cost) DESC, model
    LIMIT 6
)

SELECT
    costs.time,
    coalesce(largest.model, '(others)') AS series,
    sum(costs.cost) * 3600.0 / $bucket_seconds AS value
FROM costs
LEFT JOIN largest ON largest.model = costs.model
GROUP BY costs.time, coalesce(largest.model, '(others)')
ORDER BY time, series
