-- /// rule
-- id          = "large-outputs"
-- title       = "Caller received many very long answers"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "low"
-- source      = ["calls_merged"]
-- requires    = ["caller", "output_tokens"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0034.001", "AML.T0024"]
-- owasp       = ["LLM10:2025"]
-- description = """
-- Counts answers of more tokens than a person reads, by caller over a sliding hour. Output is the dear half of a call
-- and the half by which data or a model's behaviour leaves."""
-- false_positives = ["Report and code generation", "Reasoning models, whose thinking counts as output"]
-- evasion     = ["Answers just under the line", "Many short answers: see model-extraction"]
-- runbook     = "Look at the models and the task of the caller; raise max_tokens for callers that write reports"
--
-- [params]
-- large_tokens = { default = 4_000, min = 1, doc = "output tokens above which an answer is large" }
-- max_large = { default = 10, min = 0, doc = "large answers to one caller that are tolerated in an hour" }
-- ///
SELECT
    caller,
    count(*) AS event_count,
    sum(output_tokens) AS output_tokens,
    max(output_tokens) AS largest,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
    AND output_tokens > $large_tokens
GROUP BY caller
HAVING count(*) > $max_large;

-- /// test
-- name = "eleven large answers fire"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{ event_time = "-50m", caller = "a", output_tokens = 4_001, repeat = 11, every = "1m" }]
-- expect = [{ caller = "a", event_count = 11, output_tokens = 44_011, largest = 4_001 }]
-- ///

-- /// test
-- name = "ten do not, nor do answers of exactly the size"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", caller = "a", output_tokens = 9_000, repeat = 10, every = "1m" },
--   { event_time = "-50m", caller = "b", output_tokens = 4_000, repeat = 30, every = "1m" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "long prompts with short answers look alike in cost only"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{ event_time = "-50m", caller = "a", input_tokens = 90_000, output_tokens = 200, repeat = 30, every = "1m" }]
-- expect = []
-- ///
