-- /// tier
-- id          = "quarantine-expire"
-- title       = "older than 30 days"
-- version     = 1
-- table       = "quarantine"
-- action      = "expire"
-- minimum_age = "30d"
-- description = """
-- Lines that could not be read, in their shape: to mend a mapping, and read them again."""
-- ///
SELECT
    period,
    caller,
    model
FROM partitions
WHERE "table" = 'quarantine' AND period_end <= $now - INTERVAL '30 days';

-- /// test
-- name    = "what ended 30 days ago goes, and nothing younger; the last of February was a leap day"
-- now     = 2028-03-01T00:00:00Z
-- periods = ["2028-01-30", "2028-01-31", "2028-01-30T23", "2028-01-31T00"]
-- expect  = ["2028-01-30", "2028-01-30T23"]
-- ///
