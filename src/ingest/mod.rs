//! A source format in, rows out; one file per format.
