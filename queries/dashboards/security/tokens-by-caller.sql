-- /// panel
-- id          = "tokens-by-caller"
-- title       = "Tokens by caller"
-- board       = "security"
-- position    = 7
-- size        = "half"
-- chart       = "stacked"
-- unit        = "tokens"
-- bucket      = "15m"
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(caller, '(nobody named)') = $series)
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Input and output tokens of the seven callers with the most, and of all others together. Callers behind a gateway
-- are those that the gateway or the service names."""
-- ///
WITH tokens AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(caller, '(nobody named)') AS caller,
        sum(total_tokens) AS tokens
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND total_tokens IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(caller, '(nobody named)')
),

largest AS (
    SELECT caller
    FROM tokens
    GROUP BY caller
    ORDER BY sum(tokens) DESC, caller
    LIMIT 7
)

SELECT
    tokens.time,
    coalesce(largest.caller, '(others)') AS series,
    sum(tokens.tokens) AS value
FROM tokens
LEFT JOIN largest ON largest.caller = tokens.caller
GROUP BY tokens.time, coalesce(largest.caller, '(others)')
ORDER BY time, series
