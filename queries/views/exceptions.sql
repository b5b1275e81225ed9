-- /// view
-- name        = "exceptions"
-- description = """
-- What exceptions kept silent: for each exception and rule, how many findings stand that nobody was told of, and the
-- subjects, first and last of them."""
-- ///
WITH events AS (
    SELECT
        finding_id,
        status,
        rule_id,
        excepted,
        entity,
        window_start,
        window_end,
        row_number() OVER (PARTITION BY finding_id ORDER BY revision DESC) AS place
    FROM findings
    WHERE window_end >= $window_start AND window_end < $window_end
)

SELECT
    max(window_end) AS event_time,
    excepted AS exception_id,
    rule_id,
    count(*) AS findings,
    count(DISTINCT entity) AS subjects,
    min(window_start) AS first_window_start,
    max(window_end) AS last_window_end
FROM events
WHERE place = 1 AND status <> 'retracted' AND excepted IS NOT NULL
GROUP BY excepted, rule_id;
