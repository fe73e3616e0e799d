#!/bin/bash
# Runs a test binary as the unprivileged user that test.sh made, where the caller is root; cargo
# and nextest call it as the target's runner. Root passes many tests that a user must pass for real.
set -euo pipefail

[[ $(id -u) == 0 ]] || exec "$@"
home=$(getent passwd udocker-test | cut -d : -f 6)
exec setpriv --reuid udocker-test --regid udocker-test --init-groups \
	env HOME="$home" USER=udocker-test LOGNAME=udocker-test TMPDIR="$home/tmp" "$@"
