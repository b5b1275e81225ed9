-- /// panel
-- id          = "throttles"
-- title       = "Throttled calls"
-- board       = "reliability"
-- position    = 7
-- size        = "half"
-- chart       = "stacked"
-- unit        = "count"
-- bucket      = "15m"
-- drill_down  = "/rules/throttle-storm"
-- description = """
-- Calls that were refused because a quota or a rate was used up, by model: the six with the most and all others
-- together."""
-- ///
WITH throttled AS (
    SELECT
        date_bin($bucket, event_time) AS time,
        coalesce(model_family, model, '(unknown)') AS model,
        count(*) AS calls
    FROM calls_merged
    WHERE event_time >= $from AND event_time < $to
        AND (
            http_status_code = 429
            OR replace(lower(error_type), '_', '') IN (
                'throttlingexception', 'throttling', 'throttled', 'toomanyrequests', 'toomanyrequestsexception',
                'resourceexhausted', '8', 'ratelimitexceeded', 'ratelimiterror', 'ratelimitreached',
                'requestlimitexceeded', 'servicequotaexceededexception', 'quotaexceeded', 'insufficientquota', '429'
            )
        )
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY date_bin($bucket, event_time), coalesce(model_family, model, '(unknown)')
),

largest AS (
    SELECT model
    FROM throttled
    GROUP BY model
    ORDER BY sum(calls) DESC, model
    LIMIT 6
)

SELECT
    throttled.time,
    coalesce(largest.model, '(others)') AS series,
    sum(throttled.calls) AS value
FROM throttled
LEFT JOIN largest ON largest.model = throttled.model
GROUP BY throttled.time, coalesce(largest.model, '(others)')
ORDER BY time, series
