-- /// panel
-- id          = "canary-errors"
-- title       = "Canary against stable: failures"
-- board       = "model"
-- position    = 9
-- size        = "third"
-- chart       = "line"
-- unit        = "percent"
-- bucket      = "5m"
-- thresholds  = [{ value = 0.05, level = "warning" }]
-- drill_down  = "/rules/canary-regression"
-- description = """
-- Share of failed calls of each canary, and of all other deployments of the same model."""
-- ///
WITH answers AS (
    SELECT
        event_time,
        outcome,
        CASE
            WHEN strpos(lower(model_deployment), 'canary') > 0 THEN model_deployment
            ELSE concat(model, ' stable')
        END AS cohort,
        max(CASE WHEN strpos(lower(model_deployment), 'canary') > 0 THEN 1 ELSE 0 END)
            OVER (PARTITION BY model) AS has_canary
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND model_deployment IS NOT NULL AND model IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
)

SELECT
    date_bin($bucket, event_time) AS time,
    cohort AS series,
    count(*) FILTER (WHERE outcome = 'failure') * 1.0 / count(*) AS value
FROM answers
WHERE has_canary = 1
GROUP BY date_bin($bucket, event_time), cohort
HAVING count(*) >= 10
ORDER BY time, series
