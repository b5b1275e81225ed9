-- /// tier
-- id          = "findings-expire"
-- title       = "older than 365 days"
-- version     = 1
-- table       = "findings"
-- action      = "expire"
-- minimum_age = "365d"
-- description = """
-- What rules found, as long as the audit."""
-- ///
SELECT
    period,
    caller,
    model
FROM partitions
WHERE "table" = 'findings' AND period_end <= $now - INTERVAL '365 days';

-- /// test
-- name    = "what ended 365 days ago goes, and nothing younger; the last of February was a leap day"
-- now     = 2028-03-01T00:00:00Z
-- periods = ["2027-03-01", "2027-03-02", "2027-03-01T23", "2027-03-02T00"]
-- expect  = ["2027-03-01", "2027-03-01T23"]
-- ///
