-- /// panel
-- id          = "entropy"
-- title       = "Entropy of predictions and inputs"
-- board       = "model"
-- position    = 6
-- size        = "half"
-- chart       = "line"
-- unit        = "bits"
-- bucket      = "10m"
-- description = """
-- Mean entropy of the distribution over the classes, and of the characters of the inputs, in bits. The first rises
-- when the model is unsure, the second when inputs are encoded or random."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    avg(prediction_entropy) AS predictions,
    avg(input_entropy) AS inputs
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY date_bin($bucket, event_time)
ORDER BY time
