-- /// view
-- name        = "triage"
-- description = """
-- What became of findings in the hands of people: for each finding the last word, `acknowledged`, `false_positive`,
-- `closed` or `reopened`, with a note and who said it when. Every word there was is a row of `audit` with the class
-- `store.triage`. `SELECT * FROM findings_now LEFT JOIN triage USING (finding_id)` has findings with theirs."""
-- ///
WITH words AS (
    SELECT
        event_time,
        resource_id AS finding_id,
        json_get_str(request_params, 'state') AS triage_state,
        json_get_str(request_params, 'note') AS triage_note,
        caller AS triaged_by,
        row_number() OVER (PARTITION BY resource_id ORDER BY event_time DESC, event_id DESC) AS place
    FROM audit
    WHERE event_time >= $window_start AND event_time < $window_end
        AND action_class = 'store.triage'
)

SELECT
    event_time,
    finding_id,
    triage_state,
    triage_note,
    triaged_by
FROM words
WHERE place = 1;
