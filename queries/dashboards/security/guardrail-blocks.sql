-- /// panel
-- id          = "guardrail-blocks"
-- title       = "Guardrail blocks per hour"
-- board       = "security"
-- position    = 6
-- size        = "half"
-- chart       = "stacked"
-- unit        = "per_hour"
-- bucket      = "1h"
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(guardrail_policies[1], 'unnamed') = $series)
--     AND (outcome = 'blocked' OR guardrail_action = 'blocked')
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Blocked calls by the first policy that found something. A call in several logs counts once. Where a log says no
-- more than that it was blocked, the policy is `unnamed`."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    coalesce(guardrail_policies[1], 'unnamed') AS series,
    count(*) * 3600.0 / $bucket_seconds AS value
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND (outcome = 'blocked' OR guardrail_action = 'blocked')
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY date_bin($bucket, event_time), coalesce(guardrail_policies[1], 'unnamed')
ORDER BY time, series
