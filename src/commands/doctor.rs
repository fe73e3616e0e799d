//! `udocker doctor`

use serde_json::{Value, json};

use super::run::engine_options;
use super::{CommandError, Context, DONE, Outcome};
use crate::diagnosis::{Facts, Finding, Request, findings, modes};
use crate::registry::{Client, ClientOptions, RetryPolicy};
use crate::spec::ExecMode;
use crate::ui::{line_width, pretty_json};

/// Show what this host allows, and what to do where it does not
///
/// Tries out what containers need: user namespaces, tracing, filters, directories, locks, space.
/// Each line is `ok`, `limited` or `no`; where it is not ok, what that means and who can change it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker doctor
  udocker doctor --net
  udocker doctor --json

Exit status: 0 if containers can run in some mode, 1 if in none.")]
pub struct Args {
    /// Contact the default registry too
    #[arg(long)]
    net: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Examines the host, and prints the findings.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let facts = gather(args, context)?;
    let (findings, modes) = (findings(&facts), modes(&facts));
    let text = match args.json {
        true => pretty_json(&as_json(&findings, &modes)) + "\n",
        false => table(&findings, line_width()) + &conclusion(&modes),
    };
    context.printer.write_out(&text)?;
    if modes.is_empty() {
        return Err(CommandError::failed("no container can run on this host"));
    }
    Ok(DONE)
}

fn gather(args: &Args, context: &Context) -> Result<Facts, CommandError> {
    // The user wants to know the state of the network, not wait for it to recover.
    let patience = RetryPolicy {
        retries: 0,
        ..RetryPolicy::default()
    };
    let options = ClientOptions {
        retry: patience,
        ..context.client_options(None)
    };
    let (proxies, trusted) = (options.proxies.clone(), options.trusted.clone());
    let client = Client::new(options, context.credential_source())?;
    let registry = args.net.then(|| context.registry(&None)).transpose()?;
    Ok(Facts::gather(&Request {
        engine: &engine_options(context),
        containers: &context.store.layout().containers,
        proxies: &proxies,
        trusted: &trusted,
        registry: registry.as_ref().map(|registry| (&client, registry)),
    }))
}

/// Returns a table of three columns; below a finding with a problem stand its meaning and remedy.
/// Lines longer than `width` are wrapped.
fn table(findings: &[Finding], width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX);
    // On a narrow terminal, the third column leaves too little room.
    let indent = if width < 2 * FOUND_COLUMN {
        4
    } else {
        FOUND_COLUMN
    };
    let below = |text: String| wrapped(" ".repeat(indent), &text, indent + 2, width);
    let mut lines = format!("{:<16} {:<7} FOUND\n", "CHECK", "RESULT");
    for finding in findings {
        let verdict = finding.verdict.as_str();
        let start = format!("{:<16} {verdict:<7} ", finding.check);
        lines += &wrapped(start, &finding.found, indent, width);
        if !finding.meaning.is_empty() {
            lines += &below(format!("means: {}", finding.meaning));
        }
        if let Some(remedy) = &finding.remedy {
            lines += &below(format!("{} can: {}", remedy.who.as_str(), remedy.what));
        }
    }
    lines
}

/// The position of the third column, from 0.
const FOUND_COLUMN: usize = 25;

/// Wraps `text` after `start` into lines of at most `width` characters, unless a word is longer.
/// All lines but the first begin with `indent` spaces.
fn wrapped(start: String, text: &str, indent: usize, width: usize) -> String {
    let mut lines = start;
    let mut used = lines.chars().count();
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && used + 1 + length > width {
            lines += &format!("\n{}", " ".repeat(indent));
            used = indent;
        } else if index > 0 {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += length;
    }
    lines + "\n"
}

fn conclusion(modes: &[ExecMode]) -> String {
    let modes: Vec<String> = modes.iter().map(ToString::to_string).collect();
    match modes.as_slice() {
        [] => String::new(),
        modes => format!(
            "\nContainers can run here in execution modes {}.\n",
            modes.join(" ")
        ),
    }
}

fn as_json(findings: &[Finding], modes: &[ExecMode]) -> Value {
    let modes: Vec<String> = modes.iter().map(ToString::to_string).collect();
    let checks: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let remedy = finding.remedy.as_ref();
            json!({
                "check": finding.check,
                "result": finding.verdict.as_str(),
                "found": finding.found,
                "meaning": finding.meaning,
                "remedy": remedy.map(|remedy| &remedy.what),
                "who": remedy.map(|remedy| remedy.who.as_str()),
            })
        })
        .collect();
    json!({"checks": checks, "modes": modes})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Remedy, Verdict, Who};

    fn finding() -> Finding {
        Finding {
            check: "user namespaces",
            verdict: Verdict::Limited,
            found: "the setting `a.b` is 0".to_string(),
            meaning: "no mode R1, the one at native speed",
            remedy: Some(Remedy {
                who: Who::Administrator,
                what: "sysctl -w a.b=1".to_string(),
            }),
        }
    }

    #[test]
    fn lines_are_wrapped_at_the_width_of_the_terminal() {
        let head = "CHECK            RESULT  FOUND\n";
        for (width, lines) in [
            (
                None,
                "user namespaces  limited the setting `a.b` is 0
                         means: no mode R1, the one at native speed
                         an administrator can: sysctl -w a.b=1\n",
            ),
            (
                Some(56),
                "user namespaces  limited the setting `a.b` is 0
                         means: no mode R1, the one at
                           native speed
                         an administrator can: sysctl -w
                           a.b=1\n",
            ),
            (
                Some(36),
                "user namespaces  limited the setting
    `a.b` is 0
    means: no mode R1, the one at
      native speed
    an administrator can: sysctl -w
      a.b=1\n",
            ),
        ] {
            assert_eq!(table(&[finding()], width), format!("{head}{lines}"));
        }
    }
}
