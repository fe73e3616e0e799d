#!/bin/bash
# As root: makes the unprivileged user as whom tests and measurements run, once, and an empty folder
# for its temporary files.
set -euo pipefail
id udocker-test >/dev/null 2>&1 ||
	useradd --system --user-group --create-home --home-dir /var/lib/udocker-test --shell /bin/sh udocker-test
install -d --owner udocker-test --group udocker-test /var/lib/udocker-test/tmp
