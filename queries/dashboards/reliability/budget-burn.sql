-- /// panel
-- id          = "budget-burn"
-- title       = "Error budget burn"
-- board       = "reliability"
-- position    = 5
-- size        = "half"
-- chart       = "line"
-- unit        = "times"
-- bucket      = "1h"
-- thresholds  = [{ value = 1, level = "info" }, { value = 6, level = "warning" }, { value = 14.4, level = "critical" }]
-- drill_down  = """
-- SELECT event_time, caller, model, outcome, http_status_code, error_type, duration_ms, total_tokens, cost_usd, event_id
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR coalesce(model_deployment, model, '(unknown)') = $series)
--     AND outcome = 'failure'
-- ORDER BY event_time DESC
-- LIMIT 500"""
-- description = """
-- How fast failures use up the error budget of a deployment: 1 is the rate that an objective of 99.5 % allows for
-- ever. The six deployments with the most failures; steps with fewer than ten calls are left out. The lines are those
-- of slo-burn-rate: at 6 a day uses up six days, at 14.4 an hour uses up two percent of a month."""
-- ///
WITH steps AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(model_deployment, model, '(unknown)') AS deployment,
        count(*) AS calls,
        count(*) FILTER (
            WHERE outcome = 'failure'
            AND (http_status_code IS NULL OR http_status_code >= 500 OR http_status_code IN (408, 429))
        ) AS errors
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(model_deployment, model, '(unknown)')
),

worst AS (
    SELECT deployment
    FROM steps
    GROUP BY deployment
    HAVING sum(errors) > 0
    ORDER BY sum(errors) DESC, deployment
    LIMIT 6
)

SELECT
    steps.time,
    steps.deployment AS series,
    steps.errors / (steps.calls * 0.005) AS value
FROM steps
JOIN worst ON worst.deployment = steps.deployment
WHERE steps.calls >= 10
ORDER BY time, series
