-- /// panel
-- id          = "blocked-total"
-- title       = "Blocked by guardrails"
-- board       = "security"
-- position    = 3
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "count"
-- drill_down  = "/findings?q=block"
-- description = """
-- Calls of which a guardrail or content filter blocked the input or the output."""
-- ///
SELECT
    count(*) FILTER (WHERE event_time >= $from) AS value,
    count(*) FILTER (WHERE event_time < $from) AS previous
FROM calls_merged
WHERE event_time >= $previous AND event_time < $to
    AND (outcome = 'blocked' OR guardrail_action = 'blocked')
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
