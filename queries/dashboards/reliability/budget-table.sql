-- /// panel
-- id          = "budget-table"
-- title       = "Objectives by deployment"
-- board       = "reliability"
-- position    = 6
-- size        = "half"
-- chart       = "table"
-- description = """
-- Calls, failures and the share of the error budget of the range that they used, for an objective of 99.5 %. Over 100
-- % the objective was missed."""
-- ///
SELECT
    coalesce(model_deployment, model, '(unknown)') AS deployment,
    count(*) AS calls,
    count(*) FILTER (WHERE is_error) AS errors,
    1.0 - count(*) FILTER (WHERE is_error) * 1.0 / count(*) AS success_share,
    count(*) FILTER (WHERE is_error) / (count(*) * 0.005) AS budget_used_share,
    max(event_time) FILTER (WHERE is_error) AS last_error
FROM (
    SELECT
        event_time,
        model,
        model_deployment,
        coalesce(
            outcome = 'failure'
            AND (http_status_code IS NULL OR http_status_code >= 500 OR http_status_code IN (408, 429)),
            FALSE
        ) AS is_error
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
)
GROUP BY coalesce(model_deployment, model, '(unknown)')
ORDER BY budget_used_share DESC, calls DESC
LIMIT 50
