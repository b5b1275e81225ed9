-- /// rule
-- id          = "guardrail-blocks"
-- title       = "Guardrails blocked a caller again and again"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "high"
-- source      = ["calls_merged"]
-- requires    = ["caller", "outcome"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = ["AML.T0051", "AML.T0054"]
-- owasp       = ["LLM01:2025"]
-- description = """
-- Counts the calls of a caller that a guardrail or content filter blocked, over a sliding hour, on any cloud: an HTTP
-- 200 with an intervention on Bedrock, a 400 on Azure, a block reason on Vertex. A call is counted once, however many
-- policies it broke."""
-- false_positives = ["A new or too strict policy that blocks ordinary work: many callers fire at once", "Load tests of the guardrail itself"]
-- evasion     = ["Staying under the line", "Routes without a guardrail: see no-guardrail-invocations", "Many callers"]
-- runbook     = "Compare the policies with the caller's task; one policy for many callers is a tuning matter, many policies for one caller an attack"
--
-- [params]
-- max_blocks = { default = 5, min = 0, doc = "blocked calls of one caller that are tolerated in an hour" }
-- ///
SELECT
    caller,
    count(*) AS event_count,
    count(DISTINCT model) AS models,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
    AND (outcome = 'blocked' OR guardrail_action = 'blocked')
GROUP BY caller
HAVING count(*) > $max_blocks;

-- /// test
-- name = "six blocks in an hour fire, by outcome or by action"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-55m", caller = "a", outcome = "blocked", repeat = 3, every = "10m" },
--   { event_time = "-20m", caller = "a", guardrail_action = "blocked", repeat = 3, every = "5m" },
-- ]
-- expect = [{ caller = "a", event_count = 6, first_seen = "-55m", last_seen = "-10m" }]
-- ///

-- /// test
-- name = "five do not"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{ event_time = "-55m", caller = "a", outcome = "blocked", repeat = 5, every = "10m" }]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "masked or merely detected content and plain failures are no blocks"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [
--   { event_time = "-50m", caller = "a", guardrail_action = "masked", repeat = 20, every = "1m" },
--   { event_time = "-50m", caller = "a", guardrail_action = "detected", repeat = 20, every = "1m" },
--   { event_time = "-50m", caller = "a", outcome = "failure", http_status_code = 400, repeat = 20, every = "1m" },
-- ]
-- expect = []
-- ///
