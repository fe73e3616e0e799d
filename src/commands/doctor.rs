//! `udocker doctor`

use serde_json::{Value, json};

use super::run::engine_options;
use super::{CommandError, Context, DONE, Outcome};
use crate::diagnosis::{Facts, Finding, Request, findings, modes};
use crate::registry::{Client, ClientOptions, RetryPolicy};
use crate::spec::ExecMode;
use crate::ui::pretty_json;

/// Show what this host allows, and what to do where it does not
///
/// Tries out what containers need: user namespaces, tracing, filters, folders, locks, room. Each
/// line is `ok`, `limited` or `no`; where it is not ok, what that means and who can change it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker doctor
  udocker doctor --net
  udocker doctor --json

Exit status: 0 if containers can run in some mode, 1 if in none.")]
pub struct Args {
    /// Ask the default registry for an answer, too
    #[arg(long)]
    net: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at the host.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let facts = gather(args, context)?;
    let (findings, modes) = (findings(&facts), modes(&facts));
    let text = match args.json {
        true => pretty_json(&as_json(&findings, &modes)) + "\n",
        false => table(&findings) + &conclusion(&modes),
    };
    context.printer.write_out(&text)?;
    if modes.is_empty() {
        return Err(CommandError::failed("no container can run on this host"));
    }
    Ok(DONE)
}

fn gather(args: &Args, context: &Context) -> Result<Facts, CommandError> {
    // One who waits for an answer would rather know than wait for the network to recover.
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
    let registry = (&client, &context.settings.default_registry);
    Ok(Facts::gather(&Request {
        engine: &engine_options(context),
        containers: &context.store.layout().containers,
        proxies: &proxies,
        trusted: &trusted,
        registry: args.net.then_some(registry),
    }))
}

/// Three columns; below a finding that is not fine, what it means and who can change it.
fn table(findings: &[Finding]) -> String {
    let mut lines = format!("{:<16} {:<7} FOUND\n", "CHECK", "RESULT");
    for finding in findings {
        let verdict = finding.verdict.as_str();
        lines += &format!("{:<16} {verdict:<7} {}\n", finding.check, finding.found);
        if !finding.meaning.is_empty() {
            lines += &format!("{:<24} means: {}\n", "", finding.meaning);
        }
        if let Some(remedy) = &finding.remedy {
            let who = remedy.who.as_str();
            lines += &format!("{:<24} {who} can: {}\n", "", remedy.what);
        }
    }
    lines
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
