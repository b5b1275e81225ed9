-- /// rule
-- id          = "approval-bypass"
-- title       = "A tool that needs approval ran without one"
-- version     = 1
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["calls"]
-- requires    = ["tool_names", "attributes"]
-- window      = "5m"
-- every       = "1m"
-- entity      = ["session", "tool"]
-- atlas       = ["AML.T0053"]
-- owasp       = ["LLM06:2025"]
-- description = """
-- Some tools may only run after a person agreed: payments, deletions, mail to the outside. The run of a tool is a span or
-- record of its own, and whoever instruments the agent writes the approval into it. Fires when a tool of the list ran and
-- its record lacks the approval, or holds another value than an approved one. No convention names that field yet, so
-- approval_key says what the agent writes; with an empty list of tools nothing fires. Runs that were blocked did not run."""
-- false_positives = ["A version of the agent that does not write the approval yet"]
-- evasion     = ["An agent that writes an approval nobody gave", "Tools that are not on the list", "Runs that are not recorded"]
-- runbook     = "Stop the agent; undo what the tool did where that is possible, then find the path on which it skipped the question"
--
-- [params]
-- needs_approval = { default = [], doc = "names of tools that only run with approval" }
-- approval_key = { default = "tool.approval", doc = "attribute of a tool's run that holds the approval" }
-- approved_values = { default = ["approved", "granted", "true", "yes"], doc = "its values that mean approval, lower case" }
--
-- [exempt]
-- rename = "the tool is one of those that need approval, which a parameter lists"
-- ///
WITH records AS (
    -- In a CASE, so that no other record is parsed: the optimiser may move parsing below the filter.
    SELECT
        event_time,
        event_id,
        conversation_id,
        trace_id,
        user_session,
        caller,
        service_name,
        tool_names[1] AS tool,
        CASE WHEN operation = 'execute_tool' THEN attributes END AS record
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND operation = 'execute_tool'
        AND outcome <> 'blocked'
        AND array_has($needs_approval, tool_names[1])
),

runs AS (
    SELECT
        event_time,
        event_id,
        coalesce(conversation_id, trace_id, user_session, caller, service_name, '(unknown)') AS session,
        caller,
        service_name,
        tool,
        lower(coalesce(
            json_as_text(record, 'attributes', CAST($approval_key AS VARCHAR)),
            json_as_text(record, 'metadata', CAST($approval_key AS VARCHAR)),
            json_as_text(record, CAST($approval_key AS VARCHAR))
        )) AS approval
    FROM records
)

SELECT
    session,
    tool,
    max(caller) AS caller,
    max(service_name) AS service_name,
    count(DISTINCT event_id) AS event_count,
    count(DISTINCT event_id) FILTER (WHERE approval IS NULL) AS without_answer,
    max(approval) AS other_answer,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM runs
WHERE NOT coalesce(array_has($approved_values, approval), FALSE)
GROUP BY session, tool;

-- /// test
-- name = "no approval, and one that was denied"
-- at   = 2026-01-01T01:00:00Z
-- params = { needs_approval = ["send_payment", "delete_account"] }
-- given.calls = [
--   { event_time = "-4m", conversation_id = "c1", caller = "dana", record_role = "supplement", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"attributes":{"gen_ai.tool.type":"function"}}' },
--   { event_time = "-3m", conversation_id = "c1", caller = "dana", record_role = "supplement", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"attributes":{"tool.approval":"Denied"}}' },
-- ]
-- expect = [{ session = "c1", tool = "send_payment", caller = "dana", event_count = 2, without_answer = 1, other_answer = "denied", first_seen = "-4m", last_seen = "-3m" }]
-- ///

-- /// test
-- name = "approved runs, in every place an agent may write it, are what the question is for"
-- at   = 2026-01-01T01:00:00Z
-- params = { needs_approval = ["send_payment"] }
-- given.calls = [
--   { event_time = "-4m", conversation_id = "c1", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"attributes":{"tool.approval":"Approved"}}' },
--   { event_time = "-4m", conversation_id = "c2", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"metadata":{"tool.approval":true}}' },
--   { event_time = "-4m", conversation_id = "c3", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"tool.approval":"granted"}' },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "other tools, a mere request, a blocked run, and the moment before the window do not fire"
-- at   = 2026-01-01T01:00:00Z
-- params = { needs_approval = ["send_payment"], approval_key = "review" }
-- given.calls = [
--   { event_time = "-4m", conversation_id = "c1", operation = "execute_tool", tool_names = ["show_balance"], attributes = '{}' },
--   { event_time = "-4m", conversation_id = "c1", operation = "chat", tool_names = ["send_payment"], attributes = '{}' },
--   { event_time = "-4m", conversation_id = "c1", operation = "execute_tool", tool_names = ["send_payment"], outcome = "blocked", attributes = '{}' },
--   { event_time = "-6m", conversation_id = "c1", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{}' },
--   { event_time = "-4m", conversation_id = "c1", operation = "execute_tool", tool_names = ["send_payment"], attributes = '{"review":"yes"}' },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
