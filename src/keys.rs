//! Keys: what makes a table unreadable for whoever has its files and not its key.
//!
//! There are three layers, so that each can change without the one below:
//!
//! - every data file has a random key of its own, with which Parquet modular encryption covers its pages, statistics and
//!   footer;
//! - that key is in the file, encrypted with one of the *table's keys*, in the form that other readers of Parquet know
//!   (`material`);
//! - the table's keys are in the store's *key ring* (`ring`), encrypted with a *master key*, which comes from a file,
//!   the environment or a command (`source`) and never from the store.
//!
//! So another master key means that the ring is written anew, and no data file. What is asked for a key is the
//! `Keychain` of a store; that tables are read with it is told by [`crate::store`].

mod keychain;
mod material;
mod ring;
mod secret;
mod source;

pub(crate) use keychain::{Keychain, unknown_key};
pub(crate) use material::{encryption, key_named_in};
pub(crate) use ring::{Ring, table_of};
pub(crate) use secret::{Secret, TableKey};
pub use source::KeySource;
