-- /// tier
-- id          = "filters-expire"
-- title       = "older than 90 days"
-- version     = 1
-- table       = "filters"
-- action      = "expire"
-- minimum_age = "90d"
-- description = """
-- What guardrails and filters found, as long as the calls."""
-- ///
SELECT
    period,
    caller,
    model
FROM partitions
WHERE "table" = 'filters' AND period_end <= $now - INTERVAL '90 days';

-- /// test
-- name    = "what ended 90 days ago goes, and nothing younger; the last of February was a leap day"
-- now     = 2028-03-01T00:00:00Z
-- periods = ["2027-12-01", "2027-12-02", "2027-12-01T23", "2027-12-02T00"]
-- expect  = ["2027-12-01", "2027-12-01T23"]
-- ///
