//! `ip_prefix(ip)`: the network that rules group callers by.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::{Texts, text_function};
use crate::text::ip;

/// `ip_prefix(ip)`: see [`ip::prefix`].
#[user_doc(
    doc_section(label = "Network Functions"),
    description = "The network of an address: /24 for IPv4, also when its last octet is masked, /48 for IPv6. An IPv4-mapped IPv6 address counts as its IPv4 address. Null for null and for what is no address.",
    syntax_example = "ip_prefix(ip)",
    sql_example = r#"```sql
> SELECT ip_prefix('81.2.69.***') AS v4, ip_prefix('2001:db8:1:2::3') AS v6;
+--------------+-----------------+
| v4           | v6              |
+--------------+-----------------+
| 81.2.69.0/24 | 2001:db8:1::/48 |
+--------------+-----------------+
```"#,
    argument(name = "ip", description = "The address as text.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    signature: Signature,
}

text_function!(IpPrefix, "ip_prefix", DataType::Utf8View, kernel);

fn kernel(texts: Texts<'_>) -> Result<ArrayRef> {
    let mut prefixes = StringViewBuilder::with_capacity(texts.len());
    let mut prefix = String::new();
    texts.for_each(|text| {
        prefix.clear();
        let found = text.is_some_and(|text| ip::prefix(text, &mut prefix));
        prefixes.append_option(found.then_some(&prefix));
    })?;
    Ok(Arc::new(prefixes.finish()))
}
