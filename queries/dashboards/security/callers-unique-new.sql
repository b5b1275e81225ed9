-- /// panel
-- id          = "callers-unique-new"
-- title       = "Unique and new callers"
-- board       = "security"
-- position    = 8
-- size        = "half"
-- chart       = "line"
-- unit        = "count"
-- bucket      = "1h"
-- empty       = "zero"
-- drill_down  = """
-- SELECT caller, min(event_time) AS first_call, count(*) AS calls, sum(total_tokens) AS tokens
-- FROM calls_merged
-- WHERE event_time >= $from AND event_time < $to
--     AND caller IS NOT NULL
--     AND ($caller IS NULL OR caller = $caller)
--     AND ($model IS NULL OR model = $model)
--     AND ($series IS NULL OR TRUE)
-- GROUP BY caller
-- ORDER BY calls DESC
-- LIMIT 500"""
-- description = """
-- Callers in each step, and those among them that were never seen in the thirty days before. When a store is new,
-- everybody in it is."""
-- ///
WITH seen AS (
    SELECT
        caller,
        date_bin($bucket, event_time) AS time,
        min(event_time) AS first_call
    FROM calls
    WHERE event_time >= $from - INTERVAL '30 days' AND event_time < $to
        AND caller IS NOT NULL
        AND ($caller IS NULL OR caller = $caller)
        AND ($model IS NULL OR model = $model)
    GROUP BY caller, date_bin($bucket, event_time)
),

known AS (
    SELECT
        caller,
        time,
        min(first_call) OVER (PARTITION BY caller) AS first_call
    FROM seen
)

SELECT
    time,
    count(*) AS "callers",
    count(*) FILTER (WHERE date_bin($bucket, first_call) = time) AS "new callers"
FROM known
WHERE time >= date_bin($bucket, $from)
GROUP BY time
ORDER BY time
