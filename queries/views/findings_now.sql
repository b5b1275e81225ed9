-- /// view
-- name        = "findings_now"
-- description = """
-- Findings as they stand: of each its last revision, without those that were retracted. The time of a finding is the
-- end of its last window."""
-- ///
WITH events AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY finding_id ORDER BY revision DESC) AS place
    FROM findings
    WHERE window_end >= $window_start AND window_end < $window_end
)

SELECT
    window_end AS event_time,
    finding_id,
    revision,
    status,
    rule_id,
    rule_version,
    title,
    severity,
    confidence,
    window_start,
    window_end,
    first_window_end,
    windows,
    entity,
    event_count,
    first_seen,
    last_seen,
    score,
    evidence,
    suppressed,
    folded,
    excepted,
    risk,
    risk_object,
    atlas,
    owasp,
    evaluated_at
FROM events
WHERE place = 1 AND status <> 'retracted';
