-- /// panel
-- id          = "calls-total"
-- title       = "Calls"
-- board       = "security"
-- position    = 2
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "count"
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR caller = $series)
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Calls of all models, each once, however many logs tell of it."""
-- ///
SELECT
    count(*) FILTER (WHERE event_time >= $from) AS value,
    count(*) FILTER (WHERE event_time < $from) AS previous
FROM calls_merged
WHERE event_time >= $previous AND event_time < $to
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
