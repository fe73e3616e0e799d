//! `udocker search`

use std::io;

use super::options::given;
use super::{CommandError, Context, DONE, Outcome};
use crate::oci::{Reference, RegistryUrl};
use crate::registry::{FoundRepository, SearchPlace};
use crate::ui;

/// Search a registry
///
/// Searches Docker Hub, or the registry whose host begins the expression. A registry without a
/// search is searched by its catalogue, if it shows one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker search -a samtools
  udocker search quay.io/biocontainers/samtools
  udocker search --list-tags ubuntu
  udocker search http://localhost:5000/")]
pub struct Args {
    /// Do not pause after each page
    #[arg(short = 'a')]
    all: bool,
    /// Do not shorten names and descriptions
    #[arg(long)]
    no_trunc: bool,
    /// List the tags of the repository
    #[arg(long)]
    list_tags: bool,
    /// Index to search instead of Docker Hub's
    #[arg(long, value_name = "URL")]
    index: Option<String>,
    /// Registry to search instead of Docker Hub
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Proxy, as for `pull`
    #[arg(long, value_name = "URL")]
    httpproxy: Option<String>,
    #[arg(help = "What to look for, as [https://|http://][HOST[:PORT]/]WORD")]
    expression: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    if args.list_tags {
        return list_tags(args, context);
    }
    let (place, prefix, term) = search_target(args, context)?;
    let client = context.registry_client(given(&args.httpproxy))?;
    let mut pager = Pager::new(args, context);
    let pages = client.search(place, term)?;
    if context.printer.shows_notes() {
        pager.print(&row(&HEADER, args.no_trunc))?;
    }
    for page in pages {
        for found in page? {
            let columns = columns(&found, prefix);
            if !pager.print(&row(&columns.each_ref().map(String::as_str), args.no_trunc))? {
                return Ok(DONE);
            }
        }
    }
    Ok(DONE)
}

/// Returns the place to search, the prefix that makes an image name of a name found there, and the
/// word to look for.
fn search_target<'a>(
    args: &'a Args,
    context: &Context,
) -> Result<(SearchPlace, &'a str, &'a str), CommandError> {
    let settings = &context.settings;
    let (prefix, term) = split_expression(&args.expression);
    let index_at = |url: &str| SearchPlace::index(url).map_err(CommandError::usage);
    if !prefix.is_empty() {
        let registry = RegistryUrl::parse(prefix).map_err(CommandError::from_error)?;
        return Ok(if registry.is_docker_hub() {
            (index_at(&settings.index_url)?, "", term)
        } else {
            (SearchPlace::Registry(registry), prefix, term)
        });
    }
    if let Some(index) = given(&args.index) {
        return Ok((index_at(index)?, "", term));
    }
    let registry = context.registry(&args.registry)?;
    let place = if registry.is_docker_hub() || settings.index_is_replaced() {
        index_at(&settings.index_url)?
    } else {
        SearchPlace::Registry(registry)
    };
    Ok((place, "", term))
}

/// Splits an expression into the registry with its slash, and the word. The first component is a
/// registry if it follows a scheme, has a dot or a port, or is `localhost`. A tag or digest is
/// dropped.
fn split_expression(expression: &str) -> (&str, &str) {
    let scheme_end = expression.find("://").map_or(0, |position| position + 3);
    let rest = &expression[scheme_end..];
    let host_end = match rest.split_once('/') {
        Some((host, _)) if scheme_end > 0 || host.contains(['.', ':']) || host == "localhost" => {
            host.len() + 1
        }
        Some(_) => 0,
        None if scheme_end > 0 => rest.len(),
        None => 0,
    };
    let (prefix, term) = expression.split_at(match host_end {
        0 => 0,
        end => scheme_end + end,
    });
    let term = term.split([':', '@']).next().unwrap_or(term);
    (prefix, term)
}

const HEADER: [&str; 4] = ["NAME", "OFFICIAL", "DESCRIPTION", "STARS"];

fn columns(found: &FoundRepository, prefix: &str) -> [String; 4] {
    let official = if found.is_official { "[OK]" } else { "----" };
    let name = match prefix.trim_end_matches('/') {
        "" => found.name.clone(),
        registry => format!("{registry}/{}", found.name),
    };
    [
        name,
        official.to_string(),
        found.description.clone(),
        found.stars.clone(),
    ]
}

fn row([name, official, description, stars]: &[&str; 4], no_trunc: bool) -> String {
    if no_trunc {
        format!("{name:<55} {official:>8} {description:<70} {stars:>5}")
    } else {
        format!("{name:<55.80} {official:>8.8} {description:<70.70} {stars:>5.5}")
    }
}

fn list_tags(args: &Args, context: &Context) -> Outcome {
    let reference: Reference = args.expression.parse().map_err(CommandError::from_error)?;
    let default = context.registry(&args.registry)?;
    let registry = reference.registry(&default);
    let client = context.registry_client(given(&args.httpproxy))?;
    let repositories = reference.remote_repositories(&default);
    let tags = client.find_tags(&registry, &repositories)?;
    let mut pager = Pager::new(args, context);
    for tag in tags {
        if !pager.print(&tag)? {
            break;
        }
    }
    Ok(DONE)
}

/// Prints results, and waits after each page on a terminal until the user continues.
struct Pager<'a> {
    context: &'a Context,
    page: Option<usize>,
    left: usize,
}

impl<'a> Pager<'a> {
    fn new(args: &Args, context: &'a Context) -> Pager<'a> {
        let page = if args.all { None } else { ui::page_lines() };
        Pager {
            context,
            page,
            left: page.unwrap_or_default(),
        }
    }

    /// Prints a line and returns true; returns false if the user quits.
    fn print(&mut self, line: &str) -> io::Result<bool> {
        if let Some(page) = self.page {
            if self.left == 0 {
                let answer = ui::ask("[return or q to quit]").unwrap_or("q".to_string());
                if matches!(answer.trim(), "q" | "Q" | "e" | "E") {
                    return Ok(false);
                }
                self.left = page;
            }
            self.left -= 1;
        }
        self.context.printer.out(line)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_split_from_the_search_term() {
        for (expression, prefix, term) in [
            ("samtools", "", "samtools"),
            ("lab/samtools:1.9", "", "lab/samtools"),
            ("busybox@sha256:00", "", "busybox"),
            ("my.image", "", "my.image"),
            ("quay.io/lab/tool", "quay.io/", "lab/tool"),
            ("quay.io/", "quay.io/", ""),
            ("localhost/x", "localhost/", "x"),
            ("host:5000/x:1", "host:5000/", "x"),
            ("http://127.0.0.1:5000/x", "http://127.0.0.1:5000/", "x"),
            ("https://quay.io", "https://quay.io", ""),
            ("http://myhost/lab/x:1", "http://myhost/", "lab/x"),
            ("", "", ""),
        ] {
            assert_eq!(split_expression(expression), (prefix, term), "{expression}");
        }
    }

    #[test]
    fn column_widths_equal_those_of_udocker_py() {
        let long = "x".repeat(99);
        let row = |no_trunc| row(&[&long, "[OK]", &long, "123456"], no_trunc);
        assert_eq!(
            row(false),
            format!("{} {:>8} {} 12345", &long[..80], "[OK]", &long[..70])
        );
        assert_eq!(row(true), format!("{long} {:>8} {long} 123456", "[OK]"));
        assert_eq!(
            super::row(&HEADER, false),
            format!("{:55} OFFICIAL {:70} STARS", "NAME", "DESCRIPTION")
        );
    }
}
