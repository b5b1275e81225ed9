-- /// panel
-- id          = "failures-by-kind"
-- title       = "Failures by kind"
-- board       = "reliability"
-- position    = 8
-- size        = "half"
-- chart       = "stacked"
-- unit        = "count"
-- bucket      = "15m"
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(error_type, CAST(http_status_code AS VARCHAR), '(unnamed)') = $series)
--     AND outcome = 'failure'
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- Failed calls by the vendor's error code, else by the HTTP status: the seven kinds with the most and all others
-- together."""
-- ///
WITH failures AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(error_type, CAST(http_status_code AS VARCHAR), '(unnamed)') AS kind,
        count(*) AS calls
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND outcome = 'failure'
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(error_type, CAST(http_status_code AS VARCHAR), '(unnamed)')
),

largest AS (
    SELECT kind
    FROM failures
    GROUP BY kind
    ORDER BY sum(calls) DESC, kind
    LIMIT 7
)

SELECT
    failures.time,
    coalesce(largest.kind, '(others)') AS series,
    sum(failures.calls) AS value
FROM failures
LEFT JOIN largest ON largest.kind = failures.kind
GROUP BY failures.time, coalesce(largest.kind, '(others)')
ORDER BY time, series
