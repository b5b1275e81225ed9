//! The store: a folder of Delta tables.
