-- /// panel
-- id          = "sources"
-- title       = "Sources"
-- board       = "reliability"
-- position    = 10
-- size        = "half"
-- chart       = "table"
-- description = """
-- The logs that calls were read from: how many records came in the range, the last of them, and the share that has a
-- duration, tokens and a price."""
-- ///
SELECT
    source_format AS source,
    count(*) AS records,
    max(event_time) AS last_event,
    count(duration_ms) * 1.0 / count(*) AS timed_share,
    count(total_tokens) * 1.0 / count(*) AS tokens_share,
    count(cost_usd) * 1.0 / count(*) AS priced_share
FROM calls
WHERE event_time >= $from AND event_time < $to
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY source_format
ORDER BY records DESC
