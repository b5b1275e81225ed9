-- /// rule
-- id          = "risk-threshold"
-- title       = "Much has come together around one caller in a day"
-- version     = 1
-- kind        = "correlation"
-- status      = "stable"
-- severity    = "high"
-- confidence  = "medium"
-- signals     = [{ rule = "*", as = "any" }]
-- within      = "24h"
-- every       = "15m"
-- by          = ["caller"]
-- on          = { "impossible-travel" = "caller", "many-countries" = "caller", "key-new-network" = "caller", "key-new-client" = "caller", "dormant-key-wakes" = "caller", "ai-key-outside-ai" = "caller", "api-key-when-mi-enforced" = "caller", "duplicate-request-flood" = "caller", "throttle-storm" = "caller", "tool-failure-burst" = "caller", "high-risk-tool" = "caller" }
-- atlas       = ["AML.T0012", "AML.T0034", "AML.T0051"]
-- owasp       = ["LLM01:2025", "LLM10:2025", "ASI03:2026"]
-- description = """
-- Adds up what every single rule found of a caller within a day, also what nobody was told of: the points of a rule's
-- `[risk]` where it has them, else points by severity. Fires when the sum is high, or when the findings are of many
-- different ATLAS techniques (the first that each rule names): many small things that no single rule makes anything of."""
-- false_positives = ["A gateway or shared service that acts for many users under one caller: give it a higher line", "Red teams"]
-- evasion     = ["Spreading the work over callers or days", "Staying below the line of every single rule"]
-- runbook     = "Read the findings in `findings` by time; the first of them is most often how it began"
--
-- [params]
-- min_points = { default = 100.0, min = 1.0, doc = "points of one caller in a day" }
-- min_techniques = { default = 4, min = 2, doc = "different ATLAS techniques in a day" }
-- critical = { default = 40.0, min = 0.0, doc = "points of a critical finding whose rule names none" }
-- high = { default = 20.0, min = 0.0, doc = "the same, high" }
-- medium = { default = 10.0, min = 0.0, doc = "the same, medium" }
-- low = { default = 3.0, min = 0.0, doc = "the same, low" }
-- ///
-- Findings of the last day: a finding counts once, with the worst that was told of it.
WITH told AS (
    SELECT
        caller,
        finding_id,
        rule_id,
        max(technique) AS technique,
        max(coalesce(risk, CASE severity
            WHEN 'critical' THEN $critical
            WHEN 'high' THEN $high
            WHEN 'medium' THEN $medium
            WHEN 'low' THEN $low
            ELSE 0.0
        END)) AS points,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM signals
    WHERE event_time >= $window_end - INTERVAL '24 hours' AND event_time < $window_end
    GROUP BY caller, finding_id, rule_id
)

SELECT
    caller,
    sum(points) AS score,
    count(DISTINCT technique) AS techniques,
    count(*) AS event_count,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen,
    array_agg(DISTINCT rule_id ORDER BY rule_id) AS rules,
    array_slice(array_agg(DISTINCT finding_id ORDER BY finding_id), 1, 100) AS findings
FROM told
GROUP BY caller
HAVING sum(points) >= $min_points OR count(DISTINCT technique) >= $min_techniques;

-- /// test
-- name = "five high findings of one caller"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-20h", rule_id = "token-burn", caller = "a", repeat = 5, every = "1h" },
-- ]
-- expect = [{ caller = "a", score = 100.0, event_count = 5, techniques = 1 }]
-- ///

-- /// test
-- name = "four are not enough"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-20h", rule_id = "token-burn", caller = "a", repeat = 4, every = "1h" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "one finding that lasts is one finding"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-20h", rule_id = "token-burn", caller = "a", finding_id = "f", repeat = 50, every = "10m" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "findings of a day ago and before do not count"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-1441m", rule_id = "token-burn", caller = "a", repeat = 5, every = "1ms" },
-- ]
-- expect = []
-- ///

-- /// test
-- name = "low findings of four techniques"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-20h", rule_id = "model-switching", caller = "a" },
--   { event_time = "-15h", rule_id = "system-info-probing", caller = "a" },
--   { event_time = "-10h", rule_id = "cross-region-inference", caller = "a" },
--   { event_time = "-5h", rule_id = "multi-policy-single-request", caller = "a" },
-- ]
-- expect = [{ caller = "a", techniques = 4 }]
-- ///

-- /// test
-- name = "of three techniques"
-- at   = 2026-01-04T00:00:00Z
-- given.signals = [
--   { event_time = "-20h", rule_id = "model-switching", caller = "a" },
--   { event_time = "-15h", rule_id = "system-info-probing", caller = "a" },
--   { event_time = "-10h", rule_id = "cross-region-inference", caller = "a" },
-- ]
-- expect = []
-- ///
