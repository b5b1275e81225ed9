//! Which rules a verb works on, with the exceptions and the parameters of its environment.

use std::path::PathBuf;

use anyhow::Context;

use crate::catalog::{Pack, ParamValue};
use crate::detect::Excepted;

/// Where rules are read from.
#[derive(Debug, clap::Args)]
pub(super) struct RuleFiles {
    /// Rule files or folders instead of the rules inside the program
    #[arg(
        long,
        env = "INFERWATCH_RULES",
        value_name = "PATH",
        value_delimiter = ','
    )]
    rules: Vec<PathBuf>,
    #[command(flatten)]
    environment: Environment,
}

/// What an environment adds to rules.
#[derive(Debug, clap::Args)]
pub(super) struct Environment {
    /// Files or folders with exceptions: subjects that nobody is told of, until a date
    #[arg(
        long,
        env = "INFERWATCH_EXCEPTIONS",
        value_name = "PATH",
        value_delimiter = ',',
        help_heading = "Environment"
    )]
    exceptions: Vec<PathBuf>,
    /// Values of parameters: a TOML file with a table for each rule
    #[arg(
        long = "params",
        env = "INFERWATCH_PARAMS",
        value_name = "FILE",
        help_heading = "Environment"
    )]
    settings: Option<PathBuf>,
}

impl RuleFiles {
    /// Reads them; every problem is an error.
    pub(super) fn read(&self) -> anyhow::Result<Pack> {
        let pack = self.environment.read(&self.rules)?;
        pack.into_valid().context("reading rules")
    }
}

impl Environment {
    /// Reads the rules at some paths, or those inside the program, for this environment. Problems are in the pack.
    pub(super) fn read(&self, rules: &[PathBuf]) -> anyhow::Result<Pack> {
        let mut pack = match rules.is_empty() {
            true => Pack::embedded(),
            false => Pack::read(rules).context("reading rules")?,
        };
        if !self.exceptions.is_empty() {
            let other = Pack::read(&self.exceptions).context("reading exceptions")?;
            pack.add_exceptions(other);
        }
        if let Some(path) = &self.settings {
            pack.read_settings(path).context("reading parameters")?;
        }
        Ok(pack)
    }
}

/// The values that an environment sets, and after them those given by hand, which come before them.
pub(super) fn params(
    pack: &Pack,
    given: &[String],
) -> Result<Vec<(String, String, ParamValue)>, crate::Error> {
    let set = pack.settings.iter();
    let set = set.map(|it| Ok((it.rule.clone(), it.param.clone(), it.value.clone())));
    let given = given.iter().map(|text| super::run::parse_param(pack, text));
    set.chain(given).collect()
}

/// The exceptions of a pack with their keys.
pub(super) fn exceptions(
    runtime: &tokio::runtime::Runtime,
    pack: &Pack,
) -> anyhow::Result<Vec<Excepted>> {
    Ok(runtime.block_on(Excepted::resolve(&pack.exceptions))?)
}
