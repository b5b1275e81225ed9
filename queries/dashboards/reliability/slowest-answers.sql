-- /// panel
-- id          = "slowest-answers"
-- title       = "95th percentile"
-- board       = "reliability"
-- position    = 4
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "ms"
-- drill_down  = "/rules/latency-zscore"
-- description = """
-- Of a hundred answered calls, 95 were at least as fast."""
-- ///
SELECT
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)
        FILTER (WHERE event_time >= $from) AS value,
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)
        FILTER (WHERE event_time < $from) AS previous
FROM calls_merged
WHERE event_time >= $previous AND event_time < $to
    AND outcome = 'success' AND duration_ms IS NOT NULL
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
