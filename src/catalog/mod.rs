//! Reads versioned SQL files: header to metadata, SQL to a checked plan.
