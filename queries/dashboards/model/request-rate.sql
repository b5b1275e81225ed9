-- /// panel
-- id          = "request-rate"
-- title       = "Request rate"
-- board       = "model"
-- position    = 1
-- size        = "half"
-- chart       = "stacked"
-- unit        = "per_minute"
-- bucket      = "5m"
-- empty       = "zero"
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
-- Calls a minute, by model: the seven with the most and all others together. A call in several logs counts once."""
-- ///
WITH steps AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(model_family, model, '(unknown)') AS model,
        count(*) AS calls
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(model_family, model, '(unknown)')
),

largest AS (
    SELECT model
    FROM steps
    GROUP BY model
    ORDER BY sum(calls) DESC, model
    LIMIT 7
)

SELECT
    steps.time,
    coalesce(largest.model, '(others)') AS series,
    sum(steps.calls) * 60.0 / $bucket_seconds AS value
FROM steps
LEFT JOIN largest ON largest.model = steps.model
GROUP BY steps.time, coalesce(largest.model, '(others)')
ORDER BY time, series
