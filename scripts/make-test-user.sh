#!/bin/bash
# As root: makes the unprivileged user as whom tests and measurements run, once, and an empty folder
# for its temporary files. The user is granted a range of ids (see subuid(5)), which tests of mode R1
# map with uidmap's tools; where these are missing, nothing is granted.
set -euo pipefail
id udocker-test >/dev/null 2>&1 ||
	useradd --system --user-group --create-home --home-dir /var/lib/udocker-test --shell /bin/sh udocker-test
install -d --owner udocker-test --group udocker-test /var/lib/udocker-test/tmp
if command -v newuidmap >/dev/null && ! grep --quiet '^udocker-test:' /etc/subuid; then
	usermod --add-subuids 700000-765535 --add-subgids 700000-765535 udocker-test
fi
