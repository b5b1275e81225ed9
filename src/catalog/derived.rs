//! Tests that follow from a test that fires: what must hold of every rule, whatever it looks for.
//!
//! They are not written down in the file. A rule for which one cannot hold says so and why, in `[exempt]`.

use super::header::Section;

/// What must hold of a rule and the rows it fires on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// The order in which rows arrive does not matter.
    Order,
    /// Nor does it that each arrives twice.
    Twice,
    /// It fires when everything happens half an `every` later.
    HalfStep,
    /// It fires when the end of a window falls in the middle of it.
    Edge,
    /// It fires for another subject under that one's name, and for no other.
    Rename,
    /// It fires for the same subjects, and for no other, amid a day of ordinary traffic.
    Benign,
    /// Without a column that it requires it never says that nothing is there.
    Missing,
    /// A last row that is late by less than the lateness makes no difference.
    Late,
    /// One that is later changes what was found to what it should have been, and says so.
    Revised,
    /// Run after run over commit after commit finds what one backtest finds.
    OnePass,
    /// It plans and runs with its parameters at their least and at their most.
    Bounds,
}

impl Property {
    /// All of them, in the order in which they are tested.
    pub const ALL: [Property; 11] = [
        Property::Order,
        Property::Twice,
        Property::HalfStep,
        Property::Edge,
        Property::Rename,
        Property::Benign,
        Property::Missing,
        Property::Late,
        Property::Revised,
        Property::OnePass,
        Property::Bounds,
    ];

    /// The word in `[exempt]`.
    pub fn name(self) -> &'static str {
        match self {
            Property::Order => "order",
            Property::Twice => "twice",
            Property::HalfStep => "half_step",
            Property::Edge => "edge",
            Property::Rename => "rename",
            Property::Benign => "benign",
            Property::Missing => "missing",
            Property::Late => "late",
            Property::Revised => "revised",
            Property::OnePass => "one_pass",
            Property::Bounds => "bounds",
        }
    }

    /// What is claimed, behind the name of the test it follows from.
    pub fn claim(self) -> &'static str {
        match self {
            Property::Order => "in any order of arrival",
            Property::Twice => "with every row twice",
            Property::HalfStep => "half a step later",
            Property::Edge => "over the edge of a window",
            Property::Rename => "under another name",
            Property::Benign => "amid ordinary traffic",
            Property::Missing => "never clear without a required column",
            Property::Late => "with the last row a little late",
            Property::Revised => "revised when the last row is very late",
            Property::OnePass => "run after run as in one backtest",
            Property::Bounds => "with parameters at their bounds",
        }
    }
}

/// A property that a rule does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// Which.
    pub property: Property,
    /// Why not.
    pub reason: String,
}

/// The fewest letters that can be a reason.
const REASON: usize = 20;

/// Reads `[exempt]`: a property and the reason.
pub(super) fn exemptions(section: &Section<'_, '_>) -> Option<Vec<Exemption>> {
    let mut exemptions = Vec::new();
    for property in Property::ALL {
        let key = property.name();
        let Some(reason) = section.text(key) else {
            continue;
        };
        if reason.chars().count() < REASON {
            section.fault_at(
                key,
                format!("`exempt.{key}` needs a reason that a reader can judge"),
            );
        }
        exemptions.push(Exemption { property, reason });
    }
    Some(exemptions)
}
