-- /// panel
-- id          = "latency"
-- title       = "Latency"
-- board       = "model"
-- position    = 2
-- size        = "half"
-- chart       = "line"
-- unit        = "ms"
-- bucket      = "5m"
-- drill_down  = "/findings?rule=latency-zscore"
-- description = """
-- Half, 95 and 99 of a hundred answered calls were at least as fast. Calls that failed are not measured: a refusal is
-- quick and a timeout says nothing of the model."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50,
    approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95,
    approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND outcome = 'success' AND duration_ms IS NOT NULL
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY date_bin($bucket, event_time)
ORDER BY time
