//! Command lines of programs that call udocker; each test repeats those of one program.

use crate::place::Place;

/// `UdockerBuilder` of Nextflow.
#[test]
fn nextflow_task_script_runs() {
    let Some(place) = Place::new() else { return };
    let task = r#"
        mkdir -p work/ab/cdef; cd work/ab/cdef; export NXF_TASK_WORKDIR="$PWD"
        ((udocker.py images | egrep -o "^lab/busybox:1\s") || udocker.py pull "lab/busybox:1")>/dev/null
        [[ $? != 0 ]] && echo "Udocker failed" >&2 && exit 1
        printf 'echo task in $PWD with $NXF_DEBUG > out\nexit 3\n' > .command.sh
        udocker.py run --rm --cpuset-cpus=0 -e "NXF_DEBUG=${NXF_DEBUG:=0}" -e "HOME=$HOME" \
            -v "$PWD":"$PWD" -w "$NXF_TASK_WORKDIR" --bindhome \
            $(udocker.py create "lab/busybox:1") /bin/sh -ue .command.sh || echo status $?
        cat out
        udocker.py ps | wc -l"#;
    // The second task finds the image.
    for _ in 0..2 {
        let directory = place.sandbox.path("work/ab/cdef");
        let ran = place.bash(task).succeeds();
        let expected = format!("status 3\ntask in {} with 0\n1", directory.display());
        let text = ran.text().to_string();
        // The banner is not among the results.
        assert_eq!(text, expected, "{ran:#?}");
    }
}

/// `ContainerCommandLineJob.create_udocker_runtime` of cwltool.
#[test]
fn cwltool_command_line_runs() {
    let Some(place) = Place::new() else { return };
    let ran = place
        .bash(
            r#"
            mkdir -p out tmp/t; echo input > 'in file.txt'
            udocker --quiet run --nobanner --volume="$PWD/out":/var/spool/cwl \
                --volume="$PWD/tmp/t":/tmp --volume="$PWD/in file.txt":"/var/lib/cwl/in file.txt" \
                --workdir=/var/spool/cwl --rm --env=TMPDIR=/tmp --env=HOME=/var/spool/cwl \
                --shm-size=64m --gpus=1 lab/busybox:1 sh -c 'cat "$0"; pwd > where; echo $HOME' \
                '/var/lib/cwl/in file.txt'
            cat out/where"#,
        )
        .succeeds();
    assert_eq!(ran.stdout, "input\n/var/spool/cwl\n/var/spool/cwl\n");
    assert_eq!(ran.stderr, "");
}

/// The setup of cwltool's test suite.
#[test]
fn cwltool_test_suite_setup_runs() {
    let Some(place) = Place::new() else { return };
    let ran = place
        .bash(
            r#"
            export UDOCKER_DIR=$HOME/elsewhere
            udocker install
            udocker login --username=me --password=pw
            udocker pull lab/busybox:1
            udocker images | tail -n 1
            test -d elsewhere/repos || test -d home/elsewhere/repos/lab/busybox/1"#,
        )
        .succeeds();
    assert_eq!(ran.text().split_whitespace().next(), Some("lab/busybox:1"));
}

/// `cwl-utils` pipes an expression into a program of a container and reads its answer.
#[test]
fn cwl_utils_expression_evaluation_runs() {
    let Some(place) = Place::new() else { return };
    let script = "echo 1+1 | udocker --quiet run --interactive --rm lab/busybox:1 sh -c 'read x; \
        echo got $x; exit 7' || echo status $?";
    place.bash(script).succeeds().prints("got 1+1\nstatus 7");
}

/// The udocker backend of miniwdl.
#[test]
fn miniwdl_backend_command_line_runs() {
    let Some(place) = Place::new() else { return };
    let ran = place
        .bash(
            r#"
            udocker --version >/dev/null
            mkdir -p run/work; cd run; : > stdout.txt; : > stderr.txt; echo data > input
            echo 'cat ../inputs/input; echo oops >&2; exit 5' > command
            udocker run --workdir /mnt/miniwdl_task_container/work \
                -v "$PWD/command":/mnt/miniwdl_task_container/command \
                -v "$PWD/stdout.txt":/mnt/miniwdl_task_container/stdout.txt \
                -v "$PWD/stderr.txt":/mnt/miniwdl_task_container/stderr.txt \
                -v "$PWD/work":/mnt/miniwdl_task_container/work \
                -v "$PWD/input":/mnt/miniwdl_task_container/inputs/input \
                lab/busybox:1 /bin/sh -c "sh ../command >> ../stdout.txt 2>> ../stderr.txt" \
                || echo status $?
            cat stdout.txt stderr.txt"#,
        )
        .succeeds();
    assert_eq!(ran.stdout, "status 5\ndata\noops\n");
}

/// The backend that Cromwell's documentation shows, with images named by digest.
#[test]
fn cromwell_backend_command_lines_run() {
    let Some(place) = Place::new() else { return };
    place
        .bash(
            r#"
            mkdir -p cromwell-executions/call; echo 'echo done' > cromwell-executions/call/script
            digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' \
                "docker://${UDOCKER_REGISTRY#http://}/lab/busybox:1")
            udocker run --nobanner -v "$PWD/cromwell-executions":/cromwell-executions \
                "lab/busybox@$digest" /bin/sh /cromwell-executions/call/script
            udocker run --nobanner --rm -i --user 1000 --entrypoint /bin/sh \
                -v "$PWD/cromwell-executions":/cromwell-executions \
                "lab/busybox@$digest" /cromwell-executions/call/script"#,
        )
        .succeeds()
        .prints("done\ndone");
}

/// SCAR and its supervisor in a serverless function.
#[test]
fn scar_supervisor_script_runs() {
    let Some(place) = Place::new() else { return };
    let ran = place
        .bash(
            r#"
            export UDOCKER_DIR=$TMPDIR/udocker UDOCKER_EXEC="udocker" UDOCKER_TARBALL=/none
            mkdir -p "$TMPDIR/job"; echo 'echo $INPUT from $(ls /job)' > "$TMPDIR/job/script.sh"
            $UDOCKER_EXEC images > /dev/null
            $UDOCKER_EXEC pull lab/busybox:1
            $UDOCKER_EXEC ps | grep -q udocker_container ||
                $UDOCKER_EXEC create --name=udocker_container lab/busybox:1 > /dev/null
            $UDOCKER_EXEC setup --execmode=F1 udocker_container
            $UDOCKER_EXEC --quiet run -v /dev -v /proc -v /etc/hosts --nosysdirs \
                -v "$TMPDIR/job":/job --env INPUT=text "--entrypoint=/bin/sh /job/script.sh" \
                udocker_container"#,
        )
        .succeeds();
    assert_eq!(ran.stdout, "text from script.sh\n", "{ran:#?}");
}

/// SCAR with an image that comes with the function, saved by Docker.
#[test]
fn scar_supervisor_runs_an_image_file() {
    let Some(place) = Place::new() else { return };
    let ran = place
        .bash(
            r#"
            skopeo --insecure-policy copy --quiet --src-tls-verify=false \
                "docker://${UDOCKER_REGISTRY#http://}/lab/busybox:1" \
                docker-archive:image.tar:lab/function:latest
            export UDOCKER_DIR=$TMPDIR/udocker UDOCKER_EXEC="udocker --quiet"
            name=$($UDOCKER_EXEC load -i image.tar)
            echo "$name"
            $UDOCKER_EXEC images | grep -c "^$name "
            $UDOCKER_EXEC create --name=udocker_container "$name" >/dev/null
            $UDOCKER_EXEC setup --execmode=F1 udocker_container
            $UDOCKER_EXEC ps | grep -c udocker_container
            $UDOCKER_EXEC run -v /dev -v /proc -v /etc/hosts --nosysdirs udocker_container echo done"#,
        )
        .succeeds();
    assert_eq!(
        ran.stdout, "docker.io/lab/function:latest\n1\n1\ndone\n",
        "{ran:#?}"
    );
    assert_eq!(ran.stderr, "");
}

/// The custom executor for GitLab runners.
#[test]
fn gitlab_custom_executor_script_runs() {
    let Some(place) = Place::new() else { return };
    place
        .bash(
            r#"
            if udocker inspect lab/busybox:1 >/dev/null 2>&1; then echo early; fi
            udocker pull lab/busybox:1
            udocker inspect lab/busybox:1 >/dev/null
            udocker inspect runner-1 >/dev/null 2>&1 && udocker rm -f runner-1
            udocker create --name=runner-1 lab/busybox:1 >/dev/null
            printf 'echo script in CI $CI\nexit 9\n' > job
            udocker run --containerauth --nobanner -e CI=true runner-1 /bin/sh < job || echo status $?
            udocker rm -f runner-1
            udocker inspect runner-1 >/dev/null 2>&1 || echo gone"#,
        )
        .succeeds()
        .prints("script in CI true\nstatus 9\ngone");
}

/// Job scripts of DEEP and EOSC.
#[test]
fn deep_job_scripts_run() {
    let Some(place) = Place::new() else { return };
    place
        .bash(
            r#"
            IsContainer=$(udocker ps | grep "'deep-job'" || true)
            [ ${#IsContainer} -le 1 ] && { udocker pull lab/busybox:1
                udocker create --name=deep-job lab/busybox:1 >/dev/null; }
            udocker ps | grep -c "'deep-job'"
            udocker setup --nvidia deep-job
            udocker setup --execmode=S1 deep-job
            udocker setup deep-job | head -n 1
            # Not every machine has Apptainer.
            udocker setup --execmode=P1 deep-job
            udocker -q run -v "$PWD":/rundir --workdir=/rundir deep-job /bin/sh -c pwd"#,
        )
        .succeeds()
        .prints("1\nexecmode: S1\n/rundir");
}

/// Stimela-classic, and with it CARACal.
#[test]
fn stimela_command_lines_run() {
    let Some(place) = Place::new() else { return };
    place
        .bash(
            r#"
            mkdir -p msdir
            udocker pull lab/busybox:1
            udocker create --name=cab lab/busybox:1 >/dev/null
            udocker inspect cab | head -n 1
            udocker run --nobanner --volume="$PWD/msdir":/stimela_mount/msdir:rw \
                --env=CONFIG=/c.json --workdir=/stimela_mount --rm --dri cab sh -c 'ls; echo $CONFIG'
            udocker ps | grep -c cab || true"#,
        )
        .succeeds()
        .prints("{\nmsdir\n/c.json\n0");
}

/// UCloud of the University of Southern Denmark, and wrappers that pass Docker's options on.
#[test]
fn short_command_lines_run() {
    let Some(place) = Place::new() else { return };
    place
        .bash(
            r#"
            mkdir -p data
            udocker -q run --rm --workdir=/scratch --volume="$PWD/data":/scratch lab/busybox:1 pwd
            udocker --quiet --allow-root run -it --gpus all --shm-size 1g --network host --privileged \
                --rm --volume="$PWD/data":/scratch lab/busybox:1 ls -d /scratch
            udocker --repo="$PWD/other" mkrepo "$PWD/other"
            udocker --repo="$PWD/other" images | wc -l"#,
        )
        .succeeds()
        .prints("/scratch\n/scratch\n1");
}
