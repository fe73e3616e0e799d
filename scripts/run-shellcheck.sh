#!/bin/bash
# Runs shellcheck --severity=warning over every bash script of the repository, recognised by its
# first line.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
grep --recursive --files-with-matches --null --binary-files=without-match --max-count=1 \
	--exclude-dir=.git --exclude-dir=target --exclude-dir=build '^#!/bin/bash' . |
	xargs --null shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR --
