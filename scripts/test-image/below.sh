#!/bin/bash
# Runs as root inside the test image's tree, at the end of its second layer: makes one file of each
# type for the third layer (changes.sh) to delete and to replace.
set -euo pipefail
umask 022
mkdir -p /srv/below
cd /srv/below
for fate in deleted to-file to-directory to-link remade moded; do
	echo "file $fate" >"file-$fate"
	mkdir "directory-$fate"; echo "inside $fate" >"directory-$fate/file"
	ln -s "file-$fate" "link-$fate"
	mkfifo "pipe-$fate"
done
mkdir -p tree/with/depth; echo kept >tree/kept; echo gone >tree/with/depth/gone
echo shared >hard-one; ln hard-one hard-two
