//! The help pages, one file each in `help/`.

use clap::CommandFactory;

use crate::assert_page;
use crate::support::sandbox::Sandbox;

fn commands() -> Vec<clap::Command> {
    let program = udocker::cli::Cli::command();
    program.get_subcommands().cloned().collect()
}

#[test]
fn help_pages_match_their_files() {
    let sandbox = Sandbox::new();
    let is_page = |arguments: &[&str], name: &str| {
        let ran = sandbox.udocker(arguments).run().succeeds();
        assert_eq!(ran.stderr, "");
        assert_page(&format!("help/{name}.txt"), &ran.stdout);
    };
    is_page(&[], "udocker");
    is_page(&["help"], "udocker");
    is_page(&["help", "--help"], "udocker");
    for command in commands() {
        is_page(&["help", command.get_name()], command.get_name());
    }
}

#[test]
fn every_command_has_a_summary_line_and_examples() {
    for command in commands() {
        let name = command.get_name();
        let summary = command.get_about().map(ToString::to_string).unwrap();
        assert_eq!(summary.lines().count(), 1, "{name}");
        assert!(!summary.ends_with('.'), "{name}: {summary}");
        let after = command.get_after_help().map(ToString::to_string);
        let after = after.unwrap_or_default();
        let has_example = after.lines().any(|line| {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| *word != "udocker");
            words.any(|word| word == name)
        });
        assert!(has_example, "{name} has no example in: {after}");
        for argument in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name}: {argument}");
        }
    }
}
