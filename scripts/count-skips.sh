#!/bin/bash
# To be sourced: makes the file in which skips are counted. Tests of another user write to it, too.
export UDOCKER_TEST_SKIPS=${CARGO_TARGET_DIR:-$PWD/target}/skips
mkdir -p "${UDOCKER_TEST_SKIPS%/*}"
: >"$UDOCKER_TEST_SKIPS"
chmod a+rw "$UDOCKER_TEST_SKIPS"
