-- /// panel
-- id          = "throttled-total"
-- title       = "Throttled"
-- board       = "reliability"
-- position    = 3
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "count"
-- drill_down  = "/rules/throttle-storm"
-- description = """
-- Calls that were refused because a quota or a rate was used up."""
-- ///
SELECT
    count(*) FILTER (WHERE event_time >= $from) AS value,
    count(*) FILTER (WHERE event_time < $from) AS previous
FROM calls_merged
WHERE event_time >= $previous AND event_time < $to
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
