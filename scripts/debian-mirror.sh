#!/bin/bash
# Prints "SUITE ADDRESS" of the distribution archive this machine's apt uses, so that no script
# names a host of its own. Ends with status 1 where apt knows none.
set -euo pipefail

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
# shellcheck disable=SC2016 # $(…) is apt's own format, not the shell's
apt-get indextargets --format '$(CODENAME) $(REPO_URI)' "Codename: $suite" "Created-By: Packages" |
	sed 's#/$##' | sort -u | head -n 1 | grep .
