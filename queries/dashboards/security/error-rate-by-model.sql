-- /// panel
-- id          = "error-rate-by-model"
-- title       = "Error rate by model"
-- board       = "security"
-- position    = 9
-- size        = "half"
-- chart       = "line"
-- unit        = "percent"
-- bucket      = "15m"
-- thresholds  = [{ value = 0.05, level = "warning" }, { value = 0.2, level = "critical" }]
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(model_family, model, '(unknown)') = $series)
--     AND outcome = 'failure'
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Share of the calls that failed, for the six models with the most failures. What a guardrail blocked is no failure.
-- Steps with fewer than five calls of a model are left out."""
-- ///
WITH steps AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(model_family, model, '(unknown)') AS model,
        count(*) AS calls,
        count(*) FILTER (WHERE outcome = 'failure') AS failures
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(model_family, model, '(unknown)')
),

worst AS (
    SELECT model
    FROM steps
    GROUP BY model
    HAVING sum(calls) >= 20
    ORDER BY sum(failures) DESC, model
    LIMIT 6
)

SELECT
    steps.time,
    steps.model AS series,
    steps.failures * 1.0 / steps.calls AS value
FROM steps
JOIN worst ON worst.model = steps.model
WHERE steps.calls >= 5
ORDER BY time, series
