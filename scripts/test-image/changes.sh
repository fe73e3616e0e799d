#!/bin/bash
# Runs as root inside the test image's tree, before its third layer is packed: makes at least one
# case of each change that a layer can make to lower layers (below.sh), and of each unusual entry.
set -euo pipefail
umask 022

# Deletions, also of files from packages.
rm -r /usr/share/doc /usr/share/man
cd /srv/below
rm -r ./*-deleted tree/with

# Replacements of each type by each other type and by its own.
rm -r ./*-to-* ./*-remade
for old in file directory link pipe; do
	echo new >"$old-to-file"
	mkdir "$old-to-directory"; echo new >"$old-to-directory/other"
	ln -s tree/kept "$old-to-link"
done
echo anew >file-remade; mkdir directory-remade; echo anew >directory-remade/other
ln -s tree link-remade; mkfifo pipe-remade
mkdir -p /usr/share/doc; echo new >/usr/share/doc/only # deleted above, then made anew
rm hard-two; echo alone >hard-two

# Changes of mode only.
chmod 4750 file-moded; chmod 0700 directory-moded; chmod 0600 /etc/fstab

mkdir /srv/zoo
cd /srv/zoo
# Links: hard ones inside this layer, across directories, and to a file of a lower layer.
echo one >first; ln first second; mkdir linked; ln first linked/third
ln /etc/passwd passwd-link
ln -s /etc/passwd absolute; ln -s ../../etc/passwd relative; ln -s nowhere/at/all dangling; ln -s . loop

# Modes, the set-id bits among them; the unreadable and the unwritable.
for mode in 0000 0111 0200 0400 0444 0640 0755 2755 4755 6711; do
	echo "$mode" >"mode-$mode"; chmod "$mode" "mode-$mode"
done
for mode in 0000 0111 0500 0555 0700 1777 2775; do
	mkdir "dir-$mode"; echo "$mode" >"dir-$mode/file"; chmod "$mode" "dir-$mode"
done
chown 1234:5678 mode-0640 dir-0700

# Names and content at the edges.
deep=$(printf 'directory-number-%03d/' {1..12}); mkdir -p "deep/$deep"; echo deep >"deep/$deep/file"
echo long >"$(printf 'n%.0s' {1..200})"
echo name >'with blank'; echo name >$'with\nnewline'; echo name >'ünïcödé-ß-漢字'; echo name >'-dash'; echo name >'back\slash'
: >empty; mkdir empty-directory
truncate -s 8M sparse; printf end >>sparse
head -c 3000000 /dev/zero >zeros

# Entries that an unprivileged user cannot make, or not keep unchanged.
mkfifo pipe; mknod null c 1 3; mknod block b 7 0

# Times: old, newer than now, with a fraction; of files and of directories with content.
touch -d '1970-01-01 00:00:01 UTC' epoch; touch -d '2001-02-03 04:05:06.789 UTC' fraction; touch -d '2099-12-31 UTC' future
mkdir dated; echo content >dated/file; touch -h -d '2010-10-10 10:10:10 UTC' absolute dated/file dated
