-- /// panel
-- id          = "canary-latency"
-- title       = "Canary against stable: latency"
-- board       = "model"
-- position    = 8
-- size        = "third"
-- chart       = "line"
-- unit        = "ms"
-- bucket      = "5m"
-- thresholds  = [{ value = 500, level = "warning" }]
-- drill_down  = "/rules/canary-regression"
-- description = """
-- 99th percentile of the answers of each canary, and of all other deployments of the same model. A deployment is a
-- canary when its name contains `canary`. Steps with fewer than ten answers are left out. The line is that of the
-- rule canary-regression."""
-- ///
WITH answers AS (
    SELECT
        event_time,
        model,
        duration_ms,
        CASE
            WHEN strpos(lower(model_deployment), 'canary') > 0 THEN model_deployment
            ELSE concat(model, ' stable')
        END AS cohort,
        max(CASE WHEN strpos(lower(model_deployment), 'canary') > 0 THEN 1 ELSE 0 END)
            OVER (PARTITION BY model) AS has_canary
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND model_deployment IS NOT NULL AND outcome = 'success' AND duration_ms IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
)

SELECT
    date_bin($bucket, event_time) AS time,
    cohort AS series,
    approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS value
FROM answers
WHERE has_canary = 1
GROUP BY date_bin($bucket, event_time), cohort
HAVING count(*) >= 10
ORDER BY time, series
