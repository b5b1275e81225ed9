-- /// panel
-- id          = "findings-by-severity"
-- title       = "Findings by severity"
-- board       = "security"
-- position    = 5
-- size        = "half"
-- chart       = "stacked"
-- unit        = "count"
-- bucket      = "1h"
-- drill_down  = "/findings?severity=$series"
-- description = """
-- Findings by the hour in which their last window ended, the open ones and those that are over, without those that
-- nobody is told of."""
-- ///
SELECT
    date_bin($bucket, event_time) AS time,
    severity AS series,
    count(*) AS value
FROM findings_now
WHERE event_time >= $from AND event_time < $to
    AND NOT suppressed AND excepted IS NULL
GROUP BY date_bin($bucket, event_time), severity
ORDER BY time, series
