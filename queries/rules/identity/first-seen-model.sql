-- /// rule
-- id          = "first-seen-model"
-- title       = "Known caller used a model it never used before"
-- version     = 1
-- status      = "stable"
-- severity    = "medium"
-- confidence  = "low"
-- source      = ["calls"]
-- requires    = ["caller", "model"]
-- window      = "24h"
-- every       = "15m"
-- baseline    = "30d"
-- entity      = ["caller", "model"]
-- atlas       = ["AML.T0012", "AML.T0040"]
-- owasp       = ["LLM03:2025"]
-- description = """
-- A caller that has been active for a week or more calls a model for the first time in thirty days. A stolen key is
-- tried on the dearest models first; a supply chain is changed one model at a time. Only calls that the platform let
-- through count: attempts that were denied are permission-denied-burst."""
-- false_positives = ["A planned move to a new model: many callers of one team at once"]
-- evasion     = ["Staying with models that the caller already uses", "Callers younger than a week"]
-- runbook     = "Ask the owner of the caller whether the change was planned; compare address and client of the first calls with its history"
--
-- [params]
-- min_age = { default = "7d", min = "1d", max = "30d", doc = "how long the caller must have been known" }
-- ///
WITH history AS (
    SELECT
        caller,
        model,
        min(event_time) AS first_time
    FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
        AND record_role = 'primary'
        AND outcome IN ('success', 'blocked')
    GROUP BY caller, model
),

known AS (
    SELECT
        caller,
        min(first_time) AS first_time
    FROM history
    GROUP BY caller
    HAVING min(first_time) <= $window_end - $min_age
),

recent AS (
    SELECT
        caller,
        model,
        count(*) AS event_count,
        min(event_time) AS first_seen,
        max(event_time) AS last_seen
    FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end
        AND record_role = 'primary'
        AND outcome IN ('success', 'blocked')
        AND caller IS NOT NULL AND model IS NOT NULL
    GROUP BY caller, model
)

SELECT
    recent.caller,
    recent.model,
    recent.event_count,
    recent.first_seen,
    recent.last_seen,
    known.first_time AS caller_known_since
FROM recent
JOIN known ON known.caller = recent.caller
WHERE NOT EXISTS (
    SELECT 1
    FROM history
    WHERE history.caller = recent.caller AND history.model = recent.model
);

-- /// test
-- name = "a week-old caller tries a new model"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-10d", caller = "app", model = "haiku", repeat = 9, every = "1d" },
--   { event_time = "-2h", caller = "app", model = "opus", repeat = 3, every = "1m" },
--   { event_time = "-2h", caller = "app", model = "haiku" },
-- ]
-- expect = [{ caller = "app", model = "opus", event_count = 3, first_seen = "-2h", caller_known_since = "-10d" }]
-- ///

-- /// test
-- name = "a caller known for exactly the age fires, one a minute younger does not"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-7d", caller = "old", model = "haiku" },
--   { event_time = "-2h", caller = "old", model = "opus" },
--   { event_time = "-10079m", caller = "young", model = "haiku" },
--   { event_time = "-2h", caller = "young", model = "opus" },
-- ]
-- expect = [{ caller = "old", model = "opus" }]
-- ///

-- /// test
-- name = "a model that was used three weeks ago, or whose call was denied, is not new"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [
--   { event_time = "-21d", caller = "app", model = "opus" },
--   { event_time = "-20d", caller = "app", model = "haiku", repeat = 19, every = "1d" },
--   { event_time = "-2h", caller = "app", model = "opus" },
--   { event_time = "-2h", caller = "app", model = "gpt", outcome = "failure", error_type = "AccessDeniedException" },
-- ]
-- expect = []
-- expect_state = "clear"
-- ///

-- /// test
-- name = "a caller's own first day is no finding"
-- at   = 2026-02-01T00:00:00Z
-- given.calls = [{ event_time = "-5h", caller = "new", model = "opus", repeat = 5, every = "1m" }]
-- expect = []
-- ///
