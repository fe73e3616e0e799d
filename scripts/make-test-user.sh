#!/bin/bash
# As root: creates the unprivileged user for tests and measurements, udocker-test, if it does not
# exist, and a directory for its temporary files. The user is granted a range of ids (see
# subuid(5)), which tests of mode R1 map with the tools of the package uidmap; without these tools
# no range is granted.
set -euo pipefail
id udocker-test >/dev/null 2>&1 ||
	useradd --system --user-group --create-home --home-dir /var/lib/udocker-test --shell /bin/sh udocker-test
install -d --owner udocker-test --group udocker-test /var/lib/udocker-test/tmp
if command -v newuidmap >/dev/null && ! grep --quiet '^udocker-test:' /etc/subuid; then
	usermod --add-subuids 700000-765535 --add-subgids 700000-765535 udocker-test
fi
