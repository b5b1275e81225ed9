-- /// rule
-- id          = "prompt-injection-hourly"
-- title       = "Caller sent several prompts that match injection signatures"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- source      = ["calls_merged"]
-- requires    = ["caller", "injection_score"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0051.000"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- Counts the calls of a caller whose strongest injection score reached the line, over a sliding hour. The score was
-- computed at ingest over the normalised text, so no prompt is read here. One call is one attempt, however many
-- signatures it hit, and whether or not the model or a guardrail refused it. Attempts whose log names no caller are
-- counted together, as the caller null."""
-- false_positives = [
--   "Security tests and red-team runs: give them a caller of their own",
--   "Applications that quote attack text, such as a ticket system for security reports",
-- ]
-- evasion     = ["Phrases that no signature knows", "One or two attempts an hour", "A new caller for every attempt: see many-caller-same-prompt"]
-- runbook     = "Read injection_signatures and the outcome of the caller's calls; if any attempt was answered, treat the session as compromised"
--
-- [params]
-- min_score = { default = 0.8, min = 0.0, max = 1.0, doc = "injection score from which a call is an attempt" }
-- min_count = { default = 3, min = 1, doc = "attempts in an hour" }
-- ///
SELECT
    caller,
    count(*) AS event_count,
    max(injection_score) AS score,
    count(*) FILTER (WHERE outcome = 'success') AS answered,
    count(DISTINCT model) AS models,
    max(cloud_account_id) AS cloud_account_id,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND injection_score >= $min_score
GROUP BY caller
HAVING count(*) >= $min_count;

-- /// test
-- name = "three attempts in an hour, one of them streamed and one refused"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-59m", caller = "mallory", injection_score = 0.95, operation_raw = "ConverseStream" },
--   { event_time = "-30m", caller = "mallory", injection_score = 0.8, operation_raw = "InvokeModel" },
--   { event_time = "-1m",  caller = "mallory", injection_score = 0.9, outcome = "blocked" },
-- ]
-- expect = [{ caller = "mallory", event_count = 3, score = 0.95, answered = 2, first_seen = "-59m", last_seen = "-1m" }]
-- ///

-- /// test
-- name = "two attempts, or scores just under the line, are not enough"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", caller = "two", injection_score = 0.9, repeat = 2, every = "1m" },
--   { event_time = "-30m", caller = "weak", injection_score = 0.799, repeat = 50, every = "1s" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "two callers with two attempts each are not one with four"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", caller = "user-{i}", injection_score = 0.9, repeat = 40, every = "1s" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "a second log of the same call is not a second attempt"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", caller = "a", injection_score = 0.9, repeat = 2, every = "1m" },
--   { event_time = "-30m", caller = "a", injection_score = 0.9, record_role = "supplement", repeat = 2, every = "1m" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "without scores the rule says nothing"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{ event_time = "-30m", caller = "a" }]
-- expect_state = "not_covered"
-- ///

-- /// test
-- name = "the caller is in one log and the prompt in another"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", source_format = "azure.openai.request_response", correlation_id = "c{i}", caller = "object-1", repeat = 3, every = "1m" },
--   { event_time = "-30m", source_format = "azure.apim.gateway", record_role = "supplement", correlation_id = "c{i}", injection_score = 0.9, repeat = 3, every = "1m" },
-- ]
-- expect = [{ caller = "object-1", event_count = 3 }]
-- ///
