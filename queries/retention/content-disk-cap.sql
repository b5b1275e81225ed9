-- /// tier
-- id          = "content-disk-cap"
-- title       = "prompts and responses beyond 50 GB, oldest first"
-- version     = 1
-- table       = "content"
-- action      = "expire"
-- minimum_age = "7d"
-- description = """
-- Keeps text from filling the disk: what lies beyond 50 GB, counted from the newest, goes before its thirty days are
-- over, but never within a week."""
-- ///
WITH sized AS (
    SELECT
        period,
        caller,
        model,
        sum(bytes) OVER (ORDER BY period_end DESC, period, caller, model) AS bytes_with_newer
    FROM partitions
    WHERE "table" = 'content'
)

SELECT
    period,
    caller,
    model
FROM sized
WHERE bytes_with_newer > 50000000000;

-- /// test
-- name    = "a few megabytes stay"
-- now     = 2026-11-20T00:00:00Z
-- periods = ["2026-11-01", "2026-11-02"]
-- expect  = []
-- ///

-- /// test
-- name    = "the oldest go until 50 GB are left, and not what is younger than a week"
-- now     = 2026-11-20T00:00:00Z
-- periods = ["2026-11-09", "2026-11-10", "2026-11-11", "2026-11-12"]
-- megabytes = 20_000
-- expect  = ["2026-11-09", "2026-11-10"]
-- ///

-- /// test
-- name    = "exactly 50 GB are not too much"
-- now     = 2026-11-20T00:00:00Z
-- periods = ["2026-11-09", "2026-11-10"]
-- megabytes = 25_000
-- expect  = []
-- ///

-- /// test
-- name    = "what came within a week stays, however much it is"
-- now     = 2026-11-20T00:00:00Z
-- periods = ["2026-11-12", "2026-11-13", "2026-11-14"]
-- megabytes = 60_000
-- expect  = ["2026-11-12"]
-- ///
