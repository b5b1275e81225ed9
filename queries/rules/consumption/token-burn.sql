-- /// rule
-- id          = "token-burn"
-- title       = "Caller used more tokens in one hour than allowed"
-- version     = 2
-- status      = "stable"
-- severity    = "high"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["caller", "input_tokens", "output_tokens"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0034.000", "AML.T0029"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- Adds prompt and completion tokens per caller over a sliding hour. Catches a leaked key or a runaway agent before
-- the bill does. A call that reports only one of the two counts with that one; a call whose log names no caller, as
-- Vertex's request-response log, is nobody's and does not count."""
-- false_positives = ["Approved batch evaluation: give it a caller of its own and a higher limit"]
-- evasion     = ["Splitting the work over many callers, each under the line", "Spreading the work over many hours"]
-- runbook     = "Ask the owner of the caller; if nobody knows the traffic, revoke its key and read its calls since first_seen"
--
-- [params]
-- max_tokens = { default = 500_000, min = 1, doc = "tokens that one caller may use in an hour" }
-- ///
SELECT
    caller,
    sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
    count(*) AS event_count,
    count(DISTINCT model) AS models,
    max(cloud_account_id) AS cloud_account_id,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
GROUP BY caller
HAVING sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) > $max_tokens;

-- /// test
-- name = "fires above the line, not on it"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", caller = "a", input_tokens = 500_000, output_tokens = 1 },
--   { event_time = "-40m", caller = "b", input_tokens = 500_000, output_tokens = 0 },
-- ]
-- expect = [{ caller = "a", total_tokens = 500_001, event_count = 1, first_seen = "-50m" }]
-- ///

-- /// test
-- name = "tokens outside the hour do not count: the start is in, the end is out"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-60m", caller = "a", input_tokens = 300_000, output_tokens = 0 },
--   { event_time = "+0m", caller = "a", input_tokens = 300_000, output_tokens = 0 },
--   { event_time = "-61m", caller = "a", input_tokens = 300_000, output_tokens = 0 },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a second log of the same call does not double its tokens"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", caller = "a", correlation_id = "c1", source_format = "azure.openai.request_response", input_tokens = 300_000, output_tokens = 0 },
--   { event_time = "-30m", correlation_id = "c1", source_format = "azure.openai.request_usage", record_role = "supplement", input_tokens = 300_000, output_tokens = 0 },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "tokens that only the usage log knows are counted for the caller"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", caller = "a", correlation_id = "c1", source_format = "azure.openai.request_response" },
--   { event_time = "-30m", correlation_id = "c1", source_format = "azure.openai.request_usage", record_role = "supplement", input_tokens = 600_000, output_tokens = 5 },
-- ]
-- expect = [{ caller = "a", total_tokens = 600_005, event_count = 1 }]
-- ///

-- /// test
-- name = "without token counts the rule says nothing"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{ event_time = "-30m", caller = "a", repeat = 50, every = "1s" }]
-- expect = []
-- expect_state = "not_covered"
-- ///

-- /// test
-- name = "calls without a caller are not one caller"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-30m", input_tokens = 600_000, output_tokens = 0 },
--   { event_time = "-30m", caller = "a", input_tokens = 5, output_tokens = 5 },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///
