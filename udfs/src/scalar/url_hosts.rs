//! `url_hosts(text)`: where the links of a text lead.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use datafusion_common::Result;
use datafusion_expr::Signature;
use datafusion_macros::user_doc;

use super::text_column::{Texts, text_function, texts_type};
use crate::text::hosts;

/// `url_hosts(text)`: see [`hosts::each_url_host`].
#[user_doc(
    doc_section(label = "Network Functions"),
    description = "The hosts of the http, https, ws, wss and ftp links in a text, in lower case, sorted, each once; links in Markdown, HTML and JSON included. An empty list when there is none; null for null.",
    syntax_example = "url_hosts(text)",
    sql_example = r#"```sql
> SELECT url_hosts('see ![x](https://CDN.example.org/a.png) and http://10.0.0.1:80/') AS hosts;
+-----------------------------+
| hosts                       |
+-----------------------------+
| [10.0.0.1, cdn.example.org] |
+-----------------------------+
```"#,
    argument(name = "text", description = "The text to search.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct UrlHosts {
    signature: Signature,
}

text_function!(UrlHosts, "url_hosts", texts_type(), kernel);

fn kernel(texts: Texts<'_>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), texts.len());
    let mut found = Vec::new();
    texts.for_each(|text| {
        if let Some(text) = text {
            // Links are rare, so their lower-case copies are the only allocation.
            hosts::each_url_host(text, |host| found.push(host.to_lowercase()));
            found.sort_unstable();
            found.dedup();
            for host in found.drain(..) {
                lists.values().append_value(host);
            }
        }
        lists.append(text.is_some());
    })?;
    Ok(Arc::new(lists.finish()))
}
