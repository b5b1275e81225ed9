-- /// rule
-- id          = "indirect-injection"
-- title       = "Retrieved text or a tool's result tries to instruct the model"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["injection_score"]
-- window      = "15m"
-- every       = "1m"
-- entity      = ["caller", "conversation_id"]
-- atlas       = ["AML.T0051.001"]
-- owasp       = ["LLM01:2025", "ASI01:2026"]
-- description = """
-- A web page, mail, document or tool result has no business giving orders to a model, so one hit in such a part is
-- enough. Applications that paste retrieved text into the user's message hide whose words they are; there, only the
-- signatures for text that addresses an AI count, and the finding is of medium severity, since a person may have pasted
-- it. Hidden characters alone are unicode-smuggling. A session is a conversation, else a trace, else the caller."""
-- false_positives = ["Articles, mails and source code about prompt injection", "Tools that return prompts, such as a prompt library"]
-- evasion     = ["Orders in words that no signature knows", "Text in images", "Logs that give tool results the user's role"]
-- runbook     = "Find the document by the tool and the time and take it out of the index or mailbox; see injection-succeeded for what the model did next; search for other sessions that read it"
--
-- [params]
-- min_score = { default = 0.5, min = 0.0, max = 1.0, doc = "injection score of the call from which its hits count" }
-- ///
WITH hits AS (
    SELECT
        event_id,
        event_time,
        caller,
        coalesce(conversation_id, trace_id) AS session,
        cloud_account_id,
        outcome,
        tool_call_count,
        injection_score,
        unnest(injection_findings) AS hit
    FROM calls_merged
    WHERE event_time >= $window_start AND event_time < $window_end
        AND injection_score >= $min_score
),

orders AS (
    SELECT
        event_id,
        event_time,
        caller,
        session,
        cloud_account_id,
        outcome,
        tool_call_count,
        injection_score,
        hit['category'] AS category,
        hit['signature'] AS signature,
        coalesce(hit['role'], '') IN (
            'tool', 'function', 'ipython', 'retrieved', 'document', 'context', 'search_result'
        ) AS is_foreign
    FROM hits
    WHERE hit['direction'] = 'input'
        AND coalesce(hit['role'], '') NOT IN ('system', 'developer', 'assistant')
        AND hit['category'] NOT IN ('discount', 'smuggling')
)

SELECT
    caller,
    session AS conversation_id,
    count(DISTINCT event_id) AS event_count,
    max(cloud_account_id) AS cloud_account_id,
    CASE WHEN bool_or(is_foreign) THEN 'high' ELSE 'medium' END AS severity,
    max(injection_score) AS score,
    array_to_string(array_agg(DISTINCT signature ORDER BY signature), ', ') AS signatures,
    count(DISTINCT event_id) FILTER (WHERE outcome = 'success') AS answered,
    count(DISTINCT event_id) FILTER (WHERE tool_call_count > 0) AS followed_by_tools,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM orders
WHERE is_foreign OR category = 'indirect_instruction'
GROUP BY caller, session;

-- /// test
-- name = "a tool result that overrides the instructions is high"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "agent", conversation_id = "c1", injection_score = 0.95, tool_call_count = 1, injection_findings = [
--     { signature = "override.ignore-prior-instructions", category = "direct_override", direction = "input", role = "tool", seq = 4 },
--     { signature = "exfil.send-conversation", category = "exfiltration", direction = "input", role = "tool", seq = 4 },
--   ] },
-- ]
-- expect = [{ caller = "agent", conversation_id = "c1", event_count = 1, severity = "high", score = 0.95, signatures = "exfil.send-conversation, override.ignore-prior-instructions", answered = 1, followed_by_tools = 1, first_seen = "-9m" }]
-- ///

-- /// test
-- name = "text for machines inside a user's message is medium; without a conversation the caller is the session"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "rag", injection_score = 0.5, outcome = "blocked", injection_findings = [
--     { signature = "indirect.ai-reading-this", category = "indirect_instruction", direction = "input", role = "user", seq = 0 },
--   ] },
-- ]
-- expect = [{ caller = "rag", event_count = 1, severity = "medium", answered = 0, followed_by_tools = 0 }]
-- ///

-- /// test
-- name = "a score just under the line"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "agent", injection_score = 0.49, injection_findings = [
--     { signature = "template.special-token", category = "template_tokens", direction = "input", role = "tool", seq = 4 },
--   ] },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a person's own attack, the operator's rules, the model's words and strays of the web look alike"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-9m", caller = "direct", injection_score = 0.95, injection_findings = [{ category = "direct_override", direction = "input", role = "user" }] },
--   { event_time = "-9m", caller = "operator", injection_score = 0.75, injection_findings = [{ category = "indirect_instruction", direction = "input", role = "system" }] },
--   { event_time = "-9m", caller = "model", injection_score = 0.8, injection_findings = [{ category = "exfiltration", direction = "output", role = "assistant" }] },
--   { event_time = "-9m", caller = "web", injection_score = 0.75, injection_findings = [{ category = "smuggling", direction = "input", role = "tool" }] },
-- ]
-- expect = []
-- ///
