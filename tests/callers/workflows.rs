//! Workflow engines themselves, where they are installed; `scripts/test.sh` does it.

use std::path::{Path, PathBuf};

use crate::place::Place;
use crate::support::image::ImageBuilder;
use crate::support::requirement::skip;
use crate::support::sandbox::Ran;

/// The directory with the engines' programs.
fn engines(program: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("UDOCKER_TEST_CALLERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/callers"),
        PathBuf::from,
    );
    let programs = directory.join("bin");
    if programs.join(program).exists() {
        return Some(programs);
    }
    skip(&format!(
        "'{program}' is not installed; scripts/test.sh installs it"
    ));
    None
}

/// Runs cwltool on a description, with options before its name and inputs after it.
fn cwltool(place: &Place, description: &str, options: &str, inputs: &str) -> Option<Ran> {
    let programs = engines("cwltool")?;
    place.sandbox.write("tool.cwl", description);
    Some(place.bash(&format!(
        "export PATH={}:$PATH\n\
         cwltool --quiet --udocker --outdir out {options} tool.cwl {inputs}",
        programs.display()
    )))
}

const TOOL: &str = "
cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: 'lab/busybox:1'}
";

#[test]
fn cwltool_runs_a_tool_on_a_file_with_an_odd_name() {
    let Some(place) = Place::new() else { return };
    place.sandbox.write("an odd, näme.txt", "content\n");
    let description = format!(
        "{TOOL}
baseCommand: [sh, -c]
arguments: ['cat \"$0\"; touch \"$0\" 2>/dev/null; pwd; echo $HOME; echo noise >&2']
inputs:
  file: {{type: File, inputBinding: {{position: 1}}}}
stdout: result
outputs:
  result: {{type: stdout}}
"
    );
    let inputs = "--file 'an odd, näme.txt'";
    let Some(ran) = cwltool(&place, &description, "--relax-path-checks", inputs) else {
        return;
    };
    let ran = ran.succeeds();
    assert!(ran.stdout.contains("\"class\": \"File\""), "{ran:#?}");
    let result = std::fs::read_to_string(place.sandbox.path("out/result")).unwrap();
    let lines: Vec<&str> = result.lines().collect();
    assert_eq!(lines[0], "content");
    // The working directory is the home as well, and nothing but the program's output is there.
    assert_eq!(lines[1], lines[2]);
    assert_eq!(lines.len(), 3, "{result}");
}

#[test]
fn cwltool_scatters_over_a_cold_store() {
    let Some(place) = Place::new() else { return };
    let description = "
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {words: 'string[]'}
outputs:
  files: {type: 'File[]', outputSource: step/file}
steps:
  step:
    scatter: word
    in: {word: words}
    out: [file]
    run:
      class: CommandLineTool
      requirements: {DockerRequirement: {dockerPull: 'lab/busybox:1'}}
      baseCommand: echo
      inputs: {word: {type: string, inputBinding: {position: 1}}}
      stdout: word.txt
      outputs: {file: {type: stdout}}
";
    let words: String = (0..10).map(|n| format!(" --words w{n}")).collect();
    let Some(ran) = cwltool(&place, description, "--parallel", &words) else {
        return;
    };
    let _ = ran.succeeds();
    place
        .bash("cat out/* | sort | tr '\\n' ' '; udocker ps | wc -l")
        .succeeds()
        .prints("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 1");
}

#[test]
fn cwltool_sees_exit_codes_and_ends_what_takes_too_long() {
    let Some(place) = Place::new() else { return };
    let codes = format!(
        "{TOOL}
baseCommand: [sh, -c, 'exit 7']
successCodes: [7]
inputs: []
outputs: []
"
    );
    let Some(ran) = cwltool(&place, &codes, "", "") else {
        return;
    };
    let _ = ran.succeeds();
    let strict = codes.replace("successCodes: [7]\n", "");
    let _ = cwltool(&place, &strict, "", "").unwrap().exits_with(1);
    let endless = format!(
        "{}
baseCommand: [sh, -c, 'sleep 4321 & sleep 4321']
inputs: []
outputs: []
",
        TOOL.replace(
            "requirements:\n",
            "requirements:\n  ToolTimeLimit: {timelimit: 3}\n"
        )
    );
    let _ = cwltool(&place, &endless, "", "").unwrap().exits_with(1);
    let left = place.bash("sleep 1; pgrep -cf 'sleep 432[1]' || true");
    left.succeeds().prints("0");
}

/// An image whose shell answers to the name that miniwdl calls.
fn push_bash(place: &Place) {
    let mut layer = tar::Builder::new(Vec::new());
    let script = b"#!/bin/sh\nexec /bin/sh \"$@\"\n";
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(script.len() as u64);
    layer
        .append_data(&mut header, "bin/bash", &script[..])
        .unwrap();
    let layout = place.sandbox.path("bash-layout");
    let image = ImageBuilder::busybox().layer(layer.into_inner().unwrap());
    image.write_layout(&layout, "latest");
    place.push(&layout, "lab/bash:1");
}

#[test]
fn miniwdl_runs_a_workflow() {
    let Some(programs) = engines("miniwdl") else {
        return;
    };
    let Some(place) = Place::new() else { return };
    push_bash(&place);
    place.sandbox.write("input.txt", "content\n");
    place.sandbox.write(
        "flow.wdl",
        r#"version 1.0
workflow flow {
    input { File file Array[Int] codes }
    scatter (code in codes) { call count { input: file = file, code = code } }
    output { Array[String] said = count.said Array[File] made = count.made }
}
task count {
    input { File file Int code }
    command <<< cat ~{file} > made.txt; echo "said ~{code}"; exit ~{code} >>>
    output { String said = read_string(stdout()) File made = "made.txt" }
    runtime { docker: "lab/bash:1" }
}
"#,
    );
    let run = |codes: &str| {
        place.bash(&format!(
            "export PATH={}:$PATH MINIWDL__SCHEDULER__CONTAINER_BACKEND=udocker\n\
             miniwdl run flow.wdl file=input.txt {codes} --dir runs --no-color\n\
             udocker ps | wc -l",
            programs.display()
        ))
    };
    let ran = run("codes=0 codes=0 codes=0").succeeds();
    assert_eq!(ran.stdout.matches("\"said 0\"").count(), 3, "{ran:#?}");
    assert!(ran.stdout.ends_with("}\n1\n"), "{ran:#?}");
    let ran = run("codes=7");
    assert_ne!(ran.code(), 0);
    assert!(
        ran.stderr.contains("exit_status: 7") || ran.stderr.contains("exit status 7"),
        "{ran:#?}"
    );
}
