//! The little HTML there is: escaping and the frame around every page.

use std::fmt;

use axum::response::Html;

/// Text that is escaped when displayed. Everything that is not markup of ours goes through here.
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string().chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Seconds after which the console loads itself again.
const REFRESH_SECONDS: u32 = 5;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--bad:#c62828;--good:#2e7d32;--dim:#777}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}.wide{overflow-x:auto}\
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600}.critical,.triggered,.failed,.held,.expired,.rolled_back,.awaiting_approval{color:var(--bad);font-weight:600}\
.passing,.delivered,.resolved,.done{color:var(--good)}.unknown,.dim{color:var(--dim)}\
nav a{margin-right:1rem;white-space:nowrap;display:inline-block}form{display:inline}form.actions{display:block}\
form.actions input{max-width:11rem}input,button{font:inherit;padding:.25rem .5rem;margin:.1rem 0}\
code,pre{font-size:.9em}pre{overflow-x:auto}\
 :not(pre)>code{overflow-wrap:anywhere}\
@media(max-width:40rem){pre{white-space:pre-wrap;overflow-wrap:anywhere}.wide thead{display:none}\
.wide tr{display:block;border-bottom:1px solid var(--line);padding:.4rem 0}\
.wide td{display:inline-block;border:0;padding:0 .8rem 0 0;overflow-wrap:anywhere}}";

/// A whole page. `body` is HTML already; `live` pages load themselves again.
pub(super) fn page(title: &str, live: bool, body: &str) -> Html<String> {
    let refresh = if live {
        format!("<meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">")
    } else {
        String::new()
    };
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{refresh}\
         <title>{title}</title><style>{STYLE}</style></head><body>\
         <nav><a href=\"/\">Console</a><a href=\"/alerts\">Alerts</a><a href=\"/incidents\">Incidents</a><a href=\"/failovers\">Failovers</a><a href=\"/oncall\">On call</a><a href=\"/v1/slo?format=html\">SLO</a>\
         <a href=\"/runbooks/\">Runbooks</a><a href=\"/dashboards/\">Dashboards</a>\
         <a href=\"/metrics\">Metrics</a></nav>{body}</body></html>\n",
        title = Text(title),
    ))
}

/// A table; the cells are HTML already. Without rows, `nothing` is said instead.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], nothing: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"dim\">{}</p>", Text(nothing));
    }
    let head: String = head.iter().map(|h| format!("<th>{}</th>", Text(h))).collect();
    let row = |cells: &Vec<String>| {
        let cells: String = cells.iter().map(|c| format!("<td>{c}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        let text = Text("<a href=\"x\">'&'</a>").to_string();
        assert_eq!(text, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    }
}
