-- /// panel
-- id          = "latency-spread"
-- title       = "Latency, all of it"
-- board       = "model"
-- position    = 3
-- size        = "half"
-- chart       = "heat"
-- unit        = "count"
-- bucket      = "15m"
-- description = """
-- Answered calls by how long they took: one column a step, one row a class of duration, the darker the more. Two
-- bands are two kinds of answers, or two deployments."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    CASE
        WHEN duration_ms < 50 THEN '0 to 50 ms'
        WHEN duration_ms < 100 THEN '50 to 100 ms'
        WHEN duration_ms < 200 THEN '100 to 200 ms'
        WHEN duration_ms < 500 THEN '200 to 500 ms'
        WHEN duration_ms < 1000 THEN '500 ms to 1 s'
        WHEN duration_ms < 2000 THEN '1 to 2 s'
        WHEN duration_ms < 5000 THEN '2 to 5 s'
        WHEN duration_ms < 10000 THEN '5 to 10 s'
        ELSE 'over 10 s'
    END AS series,
    min(duration_ms) AS "order",
    count(*) AS value
FROM calls_merged
WHERE event_time >= $from AND event_time < $to
    AND outcome = 'success' AND duration_ms IS NOT NULL
    AND ($caller IS NULL OR caller = $caller)
    AND ($model IS NULL OR model = $model)
GROUP BY 1, 2
ORDER BY time, "order"
