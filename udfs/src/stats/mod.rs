//! The mathematics behind the functions, free of Arrow and SQL: plain numbers in, plain numbers out.

pub(crate) mod chi_squared;
pub(crate) mod contingency;
pub(crate) mod entropy;
pub(crate) mod kolmogorov;
pub(crate) mod special;
