//! What the dashboard shows, without the server: the answer of a panel, a finding with all that belongs to it, a rule
//! with its windows, and what people made of findings.
//!
//! [`Asked`] says for which time and subject; [`Answer`] is a panel's rows with what it takes to draw them. `serve` gives
//! them to browsers, `inferwatch dashboard render` writes them to a file, `inferwatch dashboard grafana` leaves the asking
//! to Grafana.

mod answer;
mod asked;
mod finding;
mod grafana;
mod meta;
mod render;
mod rule;
mod triage;

pub(crate) use answer::engine;
pub use answer::{Answer, MOST_ROWS, answer};
pub use asked::{Asked, bucket_of, extent, moment};
pub use finding::{finding, findings};
pub use grafana::grafana;
pub use meta::{board as board_meta, panel as panel_meta};
pub use render::{App, html, json};
pub use rule::{rule, rules};
pub use triage::{LONGEST_NOTE, Triage, history, is_known};
