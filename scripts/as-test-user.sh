#!/bin/bash
# Runs a command as the unprivileged test user (make-test-user.sh) if the caller is root. cargo and
# nextest call it as the target's runner: as root many tests would pass for the wrong reason.
set -euo pipefail

[[ $(id -u) == 0 ]] || exec "$@"
home=$(getent passwd udocker-test | cut -d : -f 6)
exec setpriv --reuid udocker-test --regid udocker-test --init-groups \
	env HOME="$home" USER=udocker-test LOGNAME=udocker-test TMPDIR="$home/tmp" "$@"
