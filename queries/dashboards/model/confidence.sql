-- /// panel
-- id          = "confidence"
-- title       = "Confidence"
-- board       = "model"
-- position    = 5
-- size        = "half"
-- chart       = "line"
-- unit        = "percent"
-- bucket      = "10m"
-- drill_down  = "/rules/confidence-collapse"
-- description = """
-- Confidence of the predictions: the mean, and the value that one in ten is below. Both fall when the inputs change
-- or somebody feels for a boundary."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    avg(prediction_confidence) AS mean,
    approx_percentile_cont(0.1) WITHIN GROUP (ORDER BY prediction_confidence) AS "lowest tenth"
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND prediction_confidence IS NOT NULL
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY date_bin($bucket, event_time)
ORDER BY time
