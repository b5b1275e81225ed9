-- /// panel
-- id          = "access-denied"
-- title       = "Access denied"
-- board       = "security"
-- position    = 12
-- size        = "half"
-- chart       = "stacked"
-- unit        = "count"
-- bucket      = "1h"
-- drill_down  = "/findings?rule=permission-denied-burst"
-- description = """
-- Requests that were refused for want of a permission, model calls and management operations together: the six
-- callers with the most, and all others. Several logs of one request count once."""
-- ///
WITH requests AS (
    SELECT
        event_time, caller, model, http_status_code,
        coalesce(request_id, event_id) AS request,
        replace(lower(error_type), '_', '') AS error
    FROM calls
    WHERE event_time >= $from AND event_time < $to AND outcome <> 'success'
    UNION ALL
    SELECT
        event_time, caller, NULL AS model, http_status_code,
        coalesce(request_id, event_id) AS request,
        replace(lower(error_type), '_', '') AS error
    FROM audit
    WHERE event_time >= $from AND event_time < $to AND outcome <> 'success'
),

-- The first log of a request decides its step.
denied AS (
    SELECT
        date_bin($bucket, min(event_time)) AS time,
        coalesce(max(caller), '(nobody named)') AS caller
    FROM requests
    WHERE (
            http_status_code = 403
            OR error IN (
                'permissiondenied', '7', 'accessdenied', 'accessdeniedexception', 'unauthorizedoperation',
                'client.unauthorizedoperation', 'authorizationfailed', 'forbidden', 'notauthorized'
            )
        )
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY request
),

largest AS (
    SELECT caller
    FROM denied
    GROUP BY caller
    ORDER BY count(*) DESC, caller
    LIMIT 6
)

SELECT
    denied.time,
    coalesce(largest.caller, '(others)') AS series,
    count(*) AS value
FROM denied
LEFT JOIN largest ON largest.caller = denied.caller
GROUP BY denied.time, coalesce(largest.caller, '(others)')
ORDER BY time, series
