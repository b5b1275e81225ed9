//! `ip_valid(ip)`: whether a logged address is one.

use arrow::datatypes::DataType;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::text_function;
use crate::text::ip;

/// `ip_valid(ip)`: see [`ip::parse`].
#[user_doc(
    doc_section(label = "Network Functions"),
    description = "True for a plain IPv4 or IPv6 address; leading zeros are decimal. Ports, ranges, names and masked addresses are false. Null for null.",
    syntax_example = "ip_valid(ip)",
    sql_example = r#"```sql
> SELECT ip_valid('035.249.253.232') AS plain, ip_valid('81.2.69.***') AS masked;
+-------+--------+
| plain | masked |
+-------+--------+
| true  | false  |
+-------+--------+
```"#,
    argument(name = "ip", description = "The address as text.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IpValid {
    signature: Signature,
}

text_function!(IpValid, "ip_valid", DataType::Boolean, |texts| texts
    .to_boolean(|text| ip::parse(text).is_some()));
