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
