-- /// panel
-- id          = "open-findings"
-- title       = "Open findings"
-- board       = "security"
-- position    = 1
-- size        = "quarter"
-- chart       = "stat"
-- unit        = "count"
-- thresholds  = [{ value = 1, level = "warning" }]
-- drill_down  = "/findings?status=open"
-- description = """
-- Findings that go on and that somebody is told of, with their last window in the range. Beside it: those of the
-- range before."""
-- ///
SELECT
    count(*) FILTER (WHERE event_time >= $from) AS value,
    count(*) FILTER (WHERE event_time < $from) AS previous
FROM findings_now
WHERE event_time >= $previous AND event_time < $to
    AND status = 'open' AND NOT suppressed AND excepted IS NULL
