//! Checks the source against the rules in `src/lib.rs`: which module may import which, and which
//! module owns which effect.

#![allow(missing_docs, reason = "a test binary")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file without comments, string contents and unit tests.
struct Source {
    /// Relative to `src/`, as in `store/layout.rs`.
    path: String,
    code: String,
}

impl Source {
    /// Returns the first component of the path: `store` for `store/layout.rs` and for `store.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Returns the modules of this crate that the file names in paths, with their line numbers.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (position, _) in self.code.match_indices("crate::") {
            let line = self.code[..position].matches('\n').count() + 1;
            let rest = &self.code[position + "crate::".len()..];
            if let Some(list) = rest.strip_prefix('{') {
                found.extend(group_heads(list).map(|name| (line, name)));
            } else {
                found.push((line, leading_name(rest)));
            }
        }
        found.retain(|(_, name)| !name.is_empty());
        found
    }
}

/// Returns the first name of each member of a `{…}` list. The opening brace has been read.
fn group_heads(list: &str) -> impl Iterator<Item = String> + '_ {
    let mut depth = 0;
    let mut at_start = true;
    let mut heads = Vec::new();
    for (position, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                heads.push(leading_name(&list[position..]));
                at_start = false;
            }
            _ => {}
        }
    }
    heads.into_iter()
}

fn leading_name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Reads all of `src/`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("the source tree") {
            let path: PathBuf = entry.expect("a directory entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                found.push(Source {
                    path: path
                        .strip_prefix(&root)
                        .expect("below src")
                        .display()
                        .to_string(),
                    code: bare_code(&text),
                });
            }
        }
    }
    assert!(!found.is_empty(), "no source files found");
    found
}

/// Removes comments, string contents and unit tests, which stand last by convention. Line numbers
/// do not change.
fn bare_code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let mut bare = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => {
                while characters.next_if(|c| *c != '\n').is_some() {}
            }
            '"' => {
                bare.push_str("\"\"");
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' => {
                            characters.next();
                        }
                        '"' => break,
                        '\n' => bare.push('\n'),
                        _ => {}
                    }
                }
            }
            // A quote in a character literal does not begin a string.
            '\'' if characters.peek() == Some(&'"') => {
                characters.next();
            }
            _ => bare.push(character),
        }
    }
    bare
}

/// The levels of the modules, from the table in `src/lib.rs`.
fn levels() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
        .expect("src/lib.rs");
    let mut levels = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("//! |")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let Ok(level) = cells[1].parse() {
            for name in cells[2].split(',') {
                levels.insert(name.trim().trim_matches('`').to_string(), level);
            }
        }
    }
    levels
}

/// Whether a module may import another one, by the rule in `src/lib.rs`.
fn is_allowed(levels: &BTreeMap<String, u32>, from: &str, to: &str) -> bool {
    let (Some(upper), Some(lower)) = (levels.get(from), levels.get(to)) else {
        return false;
    };
    from == to
        || upper > lower
        || upper == lower
            && (matches!(upper, 0 | 3)
                || matches!((from, to), ("engine", "spec") | ("container", "image")))
}

#[test]
fn imports_point_down() {
    let levels = levels();
    let mut wrong = Vec::new();
    for source in sources() {
        if matches!(source.path.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        for (line, name) in source.imports() {
            if !is_allowed(&levels, source.module(), &name) {
                wrong.push(format!(
                    "src/{}:{line}: {} → {name}",
                    source.path,
                    source.module()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the table in src/lib.rs:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_has_a_level() {
    let known: BTreeSet<String> = levels().into_keys().collect();
    let present: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.module().to_string())
        .filter(|name| !matches!(name.as_str(), "lib" | "main"))
        .collect();
    let unknown: Vec<_> = present.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "modules missing in the table of src/lib.rs: {unknown:?}"
    );
}

/// A newcomer finds a command's tests by its name: those of `src/commands/pull.rs` are in
/// `tests/cli/pull.rs` or `tests/cli/pull/`.
#[test]
fn every_command_has_tests_under_its_name() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dispatch = fs::read_to_string(package.join("src/commands/mod.rs")).expect("its source");
    let commands: BTreeSet<&str> = dispatch
        .lines()
        .filter(|line| line.trim_start().starts_with("Command::"))
        .filter_map(|line| line.split_once("=> ")?.1.split_once("::run("))
        .map(|(module, _)| module)
        .collect();
    assert!(commands.len() > 20, "found {commands:?}");
    let tests = package.join("tests/cli");
    let has_tests = |command: &&str| {
        let file = tests.join(command).with_extension("rs");
        let text = fs::read_to_string(file)
            .or_else(|_| fs::read_to_string(tests.join(command).join("mod.rs")));
        text.is_ok_and(|text| text.contains("#[test]"))
    };
    let untested: Vec<_> = commands.into_iter().filter(|c| !has_tests(c)).collect();
    assert!(untested.is_empty(), "no tests in tests/cli/: {untested:?}");
}

#[test]
fn each_effect_has_one_owner() {
    // The effects, the paths below src/ that may have them, and the reason.
    let rules: &[(&[&str], &[&str], &str)] = &[
        (
            &[
                "println!",
                "eprintln!",
                "print!",
                "eprint!",
                "io::stdout()",
                "io::stderr()",
            ],
            &["ui/", "ui.rs"],
            "only `ui` writes to the terminal",
        ),
        (
            &["process::exit", "process::abort"],
            &["main.rs"],
            "only `main` ends the process",
        ),
        (
            &["env::var", "env::vars"],
            &["config/", "config.rs"],
            "only `config` reads the environment",
        ),
        (
            &["Command::new"],
            &["host/process/"],
            "only `host::process` spawns",
        ),
        (
            &["env::set_var", "env::remove_var", "set_current_dir"],
            &[],
            "nothing changes what all threads share",
        ),
    ];
    let sources = sources();
    let mut wrong = Vec::new();
    for (needles, owners, reason) in rules {
        for source in &sources {
            if owners.iter().any(|owner| source.path.starts_with(owner)) {
                continue;
            }
            for (index, line) in source.code.lines().enumerate() {
                if needles.iter().any(|needle| contains_word(line, needle)) {
                    wrong.push(format!(
                        "src/{}:{}: {} ({reason})",
                        source.path,
                        index + 1,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "effects away from their owners:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn unsafe_blocks_equal_the_record() {
    let record = include_str!("../docs/unsafe.md");
    let recorded: BTreeMap<String, usize> = record
        .lines()
        .filter_map(|line| {
            let (path, blocks) = line.strip_prefix("| `src/")?.split_once("` | ")?;
            Some((path.to_string(), blocks.strip_suffix(" |")?.parse().ok()?))
        })
        .collect();
    let mut found = BTreeMap::new();
    for source in sources() {
        let lines = source.code.lines();
        let is_unsafe = |line: &&str| {
            let mut needles = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter();
            needles.any(|needle| contains_word(line, needle))
        };
        let count = lines.filter(is_unsafe).count();
        if count > 0 {
            found.insert(source.path, count);
        }
    }
    assert_eq!(found, recorded, "found in src/, recorded in docs/unsafe.md");
}

/// Whether `line` contains `needle` other than as the end of a longer name, as `print!` in
/// `eprint!`.
fn contains_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(position, _)| {
        !line[..position].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[test]
fn files_stay_small_and_named_by_noun() {
    const MOST_LINES: usize = 600;
    let mut wrong = Vec::new();
    for source in sources() {
        let stem = Path::new(&source.path)
            .file_stem()
            .and_then(|stem| stem.to_str());
        if matches!(stem, Some("utils" | "util" | "common" | "helpers" | "misc")) {
            wrong.push(format!("src/{}: a name that says nothing", source.path));
        }
        let lines = source.code.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!(
                "src/{}: {lines} lines without its tests",
                source.path
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn import_reader_finds_all_imports() {
    let cases: &[(&str, &[&str])] = &[
        ("use crate::store::Layout;", &["store"]),
        (
            "use crate::{oci::Digest, host::{fs, facts}, progress};",
            &["oci", "host", "progress"],
        ),
        ("fn f() -> crate::spec::RunSpec {}", &["spec"]),
        ("// use crate::store::Layout;", &[]),
        ("let text = \"crate::store\";", &[]),
        ("if c == '\"' { crate::oci::x() }", &["oci"]),
        (
            "use crate::oci::X;\n#[cfg(test)]\nmod tests { use crate::store::Y; }",
            &["oci"],
        ),
    ];
    for (code, expected) in cases {
        let source = Source {
            path: "engine/mod.rs".to_string(),
            code: bare_code(code),
        };
        let names: Vec<String> = source.imports().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, *expected, "{code}");
    }
}
