//! Workflow engines that call udocker; `scripts/test.sh` installs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
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
         cwltool --udocker --outdir out {options} tool.cwl {inputs}",
        programs.display()
    )))
}

const TOOL: &str = "
cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: 'lab/busybox:1'}
";

const SCATTER: &str = "
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

/// Inputs for [`SCATTER`]: `w0`, `w1` and so on.
fn words(count: usize) -> String {
    (0..count).map(|n| format!(" --words w{n}")).collect()
}

/// A tool that exits with 7, with its `successCodes`.
fn ends_with_7(success: u32) -> String {
    format!(
        "{TOOL}
baseCommand: [sh, -c, 'exit 7']
successCodes: [{success}]
inputs: []
outputs: []
"
    )
}

/// A tool with a limit of three seconds whose processes sleep for `seconds`. `sleep` alone may be a
/// builtin of the shell, and no process with that name.
fn endless(seconds: u32) -> String {
    let tool = TOOL.replace(
        "requirements:\n",
        "requirements:\n  ToolTimeLimit: {timelimit: 3}\n",
    );
    format!(
        "{tool}
baseCommand: [sh, -c, 'busybox sleep {seconds} & busybox sleep {seconds}']
inputs: []
outputs: []
"
    )
}

/// Asserts that no process of [`endless`] is left.
fn nothing_sleeps(place: &Place, seconds: u32) {
    let script = format!("sleep 1; pgrep -cfx 'busybox sleep {seconds}' || true");
    place.bash(&script).succeeds().prints("0");
}

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
    let result = fs::read_to_string(place.sandbox.path("out/result")).unwrap();
    let lines: Vec<&str> = result.lines().collect();
    assert_eq!(lines[0], "content");
    // cwltool uses the working directory as home, so it must hold nothing but the tool's output.
    assert_eq!(lines[1], lines[2]);
    assert_eq!(lines.len(), 3, "{result}");
}

/// Lets an engine start ten concurrent containers of an image that has not been pulled.
fn scatters_over_a_cold_store(engine: impl Fn(&Place, &str) -> Option<Ran>) {
    let Some(place) = Place::new() else { return };
    let Some(ran) = engine(&place, &words(10)) else {
        return;
    };
    let _ = ran.succeeds();
    place
        .bash("cat out/* | sort | tr '\\n' ' '; udocker ps | wc -l")
        .succeeds()
        .prints("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 1");
}

#[test]
fn cwltool_scatters_over_a_cold_store() {
    scatters_over_a_cold_store(|place, words| cwltool(place, SCATTER, "--parallel", words));
}

/// Further options of cwltool: a digest, shared memory, GPUs, which it counts with `nvidia-smi`,
/// and inputs that their owner may not write.
#[test]
fn cwltool_pulls_by_digest_passes_devices_and_mounts_inputs_read_only() {
    let Some(place) = Place::new() else { return };
    let digest = place
        .bash(
            "skopeo inspect --tls-verify=false --format '{{.Digest}}' \
             \"docker://${UDOCKER_REGISTRY#http://}/lab/busybox:1\"",
        )
        .succeeds();
    let description = format!(
        "
cwlVersion: v1.2
class: CommandLineTool
$namespaces: {{cwltool: 'http://commonwl.org/cwltool#'}}
requirements:
  DockerRequirement: {{dockerPull: 'lab/busybox@{}'}}
  cwltool:ShmSize: {{shmSize: 64m}}
  cwltool:CUDARequirement:
    {{cudaVersionMin: '1.0', cudaComputeCapability: '3.0', cudaDeviceCountMin: 1}}
baseCommand: [sh, -c]
arguments: ['cat \"$0\"; (echo more >> \"$0\") 2>/dev/null || echo unchanged']
inputs:
  file: {{type: File, inputBinding: {{position: 1}}}}
stdout: result
outputs:
  result: {{type: stdout}}
",
        digest.text()
    );
    let smi = "#!/bin/sh\necho '<log><cuda_version>12.0</cuda_version>\
        <attached_gpus>1</attached_gpus></log>'\n";
    let smi = place.sandbox.write("bin/nvidia-smi", smi);
    fs::set_permissions(smi, fs::Permissions::from_mode(0o755)).unwrap();
    let input = place.sandbox.write("input.txt", "content\n");
    fs::set_permissions(&input, fs::Permissions::from_mode(0o444)).unwrap();
    let Some(ran) = cwltool(&place, &description, "--enable-ext", "--file input.txt") else {
        return;
    };
    let ran = ran.succeeds();
    for option in ["--shm-size=64m", "--gpus=1"] {
        assert!(ran.stderr.contains(option), "{option}: {ran:#?}");
    }
    let result = fs::read_to_string(place.sandbox.path("out/result")).unwrap();
    assert_eq!(result, "content\nunchanged\n");
    assert_eq!(fs::read_to_string(input).unwrap(), "content\n");
}

/// toil-cwl-runner uses the code of cwltool, and runs each step in separate processes.
fn toil(place: &Place, description: &str, inputs: &str) -> Option<Ran> {
    let programs = engines("toil-cwl-runner")?;
    place.sandbox.write("tool.cwl", description);
    Some(place.bash(&format!(
        "export PATH={}:$PATH; rm -rf jobs\n\
         toil-cwl-runner --user-space-docker-cmd udocker --jobStore \"$PWD/jobs\" --outdir out \
            --logError --disableProgress --retryCount 0 tool.cwl {inputs}",
        programs.display()
    )))
}

#[test]
fn toil_scatters_over_a_cold_store() {
    scatters_over_a_cold_store(|place, words| toil(place, SCATTER, words));
}

#[test]
fn toil_sees_exit_codes_and_kills_timed_out_jobs() {
    let Some(place) = Place::new() else { return };
    let Some(ran) = toil(&place, &ends_with_7(0), "") else {
        return;
    };
    let _ = ran.exits_with(1);
    let _ = toil(&place, &ends_with_7(7), "").unwrap().succeeds();
    let _ = toil(&place, &endless(5432), "").unwrap().exits_with(1);
    nothing_sleeps(&place, 5432);
}

#[test]
fn cwltool_sees_exit_codes_and_kills_timed_out_jobs() {
    let Some(place) = Place::new() else { return };
    let Some(ran) = cwltool(&place, &ends_with_7(0), "", "") else {
        return;
    };
    let _ = ran.exits_with(1);
    let _ = cwltool(&place, &ends_with_7(7), "", "").unwrap().succeeds();
    let _ = cwltool(&place, &endless(4321), "", "")
        .unwrap()
        .exits_with(1);
    nothing_sleeps(&place, 4321);
}

/// An image with a shell at the path that miniwdl calls.
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

/// miniwdl stops a task by terminating udocker, and waits for its end.
#[test]
fn terminated_miniwdl_leaves_no_process_or_container() {
    let Some(programs) = engines("miniwdl") else {
        return;
    };
    let Some(place) = Place::new() else { return };
    push_bash(&place);
    place.sandbox.write(
        "slow.wdl",
        r#"version 1.0
task slow {
    command <<< busybox sleep 6543 & busybox sleep 6543 >>>
    runtime { docker: "lab/bash:1" }
}
"#,
    );
    let script = format!(
        "export PATH={}:$PATH MINIWDL__SCHEDULER__CONTAINER_BACKEND=udocker\n\
         miniwdl run slow.wdl --dir runs --no-color >log 2>&1 & engine=$!\n\
         until pgrep -fx 'busybox sleep 6543' >/dev/null; do kill -0 $engine; sleep 0.1; done\n\
         kill -TERM $engine; ! wait $engine",
        programs.display()
    );
    place.bash(&script).succeeds();
    nothing_sleeps(&place, 6543);
}
