-- /// tier
-- id          = "content-expire"
-- title       = "older than 30 days"
-- version     = 1
-- table       = "content"
-- action      = "expire"
-- minimum_age = "30d"
-- description = """
-- Prompts and responses: needed to look into a finding, and for as short as can be."""
-- ///
SELECT
    period,
    caller,
    model
FROM partitions
WHERE "table" = 'content' AND period_end <= $now - INTERVAL '30 days';

-- /// test
-- name    = "what ended 30 days ago goes, and nothing younger; the last of February was a leap day"
-- now     = 2028-03-01T00:00:00Z
-- periods = ["2028-01-30", "2028-01-31", "2028-01-30T23", "2028-01-31T00"]
-- expect  = ["2028-01-30", "2028-01-30T23"]
-- ///
