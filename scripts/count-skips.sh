#!/bin/bash
# To be sourced: begins to count what is skipped, in a file that tests of another user write to, too.
export UDOCKER_TEST_SKIPS=${CARGO_TARGET_DIR:-$PWD/target}/skips
mkdir -p "${UDOCKER_TEST_SKIPS%/*}"
: >"$UDOCKER_TEST_SKIPS"
chmod a+rw "$UDOCKER_TEST_SKIPS"
