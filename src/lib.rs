//! inferwatch.
