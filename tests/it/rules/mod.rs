//! The shipped rules, the lints, and the merged view of calls.

mod lints;
mod merged;
mod merged_azure;
mod shipped;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}
