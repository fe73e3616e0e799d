#!/bin/bash
# Prints "SUITE ADDRESS" of the distribution archive this machine's apt uses, so that no script
# names a host of its own. Ends with status 1 where apt knows none.
set -euo pipefail

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
# Ubuntu's updates have the same code name; their suite has a suffix, as in noble-security.
# shellcheck disable=SC2016 # $(…) is apt's own format, not the shell's
apt-get indextargets --format '$(SUITE) $(CODENAME) $(REPO_URI)' "Codename: $suite" "Created-By: Packages" |
	grep -v '^[^ ]*-' | cut -d ' ' -f 2- | sed 's#/$##' | sort -u | head -n 1 | grep .
