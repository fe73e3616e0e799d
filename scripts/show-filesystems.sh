#!/bin/bash
# Shows, on file systems of its own in loop devices, what tests without privilege cannot: that clones
# share blocks on btrfs and xfs, that a quota which is used up is named and leaves nothing behind, that
# a repository of another user is served in silence, and that a disk which fails is named. Root only;
# takes the executable: show-filesystems.sh UDOCKER.
set -euo pipefail

[[ $# == 1 ]] || { echo "usage: $0 UDOCKER" >&2; exit 2; }
[[ $(id -u) == 0 ]] || { echo "$0: mounting needs root" >&2; exit 1; }
scripts=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
chmod 755 "$work"
trap 'kill $(jobs -p) 2>/dev/null || true; umount --quiet "$work"/*.mount || true; rm -rf --one-file-system "$work"' EXIT
install -m 755 "$1" "$work/udocker"
skip() { "$scripts/skip.sh" "$1"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# as UID COMMAND…: runs it as another user, with $home for a home.
as() {
	setpriv --reuid "$1" --regid "$1" --clear-groups env --ignore-environment \
		HOME="$home" PATH=/usr/bin:/bin "${settings[@]}" "${@:2}"
}
udocker() { as 1000 "$work/udocker" --quiet "$@"; }

# Mounts a new file system as $work/TYPE.mount, with a home that belongs to user 1000. Fails by
# itself, since nothing ends a function whose result is asked for.
mounted() {
	truncate --size 1G "$work/$1" || return
	"mkfs.$1" "${@:2}" "$work/$1" >/dev/null || return
	mkdir "$work/$1.mount"
	mount -o loop "$work/$1" "$work/$1.mount" || return
	home=$work/$1.mount/home
	install -d --owner 1000 --group 1000 "$home"
}
used() { sync -f "$1"; df --output=used --block-size=1M "$1" | tail -n 1; }

# A container `c` of a small image with one file of 64 MB.
tree=$work/tree
mkdir -p "$tree/bin"
cp /bin/busybox "$tree/bin/sh"
head -c 64M /dev/urandom >"$tree/large"
tar --create --file "$work/tree.tar" --owner 0 --group 0 --directory "$tree" .
with_container() {
	udocker import "$work/tree.tar" lab/tool:1
	udocker create --name=c lab/tool:1 >/dev/null
}

settings=()
(mounted ext2 -q 2>/dev/null) || { skip "this system mounts no loop devices"; exit; }
for type in btrfs xfs; do
	command -v "mkfs.$type" >/dev/null || { skip "mkfs.$type is not installed"; continue; }
	(mounted "$type" 2>/dev/null) || { skip "this kernel lacks the file system: $type"; continue; }
	home=$work/$type.mount/home
	with_container
	before=$(used "$home")
	udocker clone --name=d c >/dev/null
	grown=$(($(used "$home") - before))
	((grown < 32)) || fail "the clone of 64 MB took $grown MB on $type"
	original=$(udocker inspect -p c) copy=$(udocker inspect -p d)
	diff --recursive "$original" "$copy" || fail "the clone differs on $type"
	as 1000 sh -c 'echo changed >"$1/large"' sh "$copy"
	cmp --silent "$tree/large" "$original/large" || fail "a change to the clone showed in the original on $type"
	echo "$type: a clone of 64 MB took $grown MB"

	# Nor does it show in what comes from the image's tree, which goes with the image.
	trees=$home/.udocker/.containers.trees
	[[ $(find "$trees" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]] || fail "no tree is kept on $type"
	as 1000 sh -c 'echo changed >"$1/large"; rm "$1/bin/sh"' sh "$original"
	before=$(used "$home")
	udocker create --name=e lab/tool:1 >/dev/null
	grown=$(($(used "$home") - before))
	((grown < 32)) || fail "the second container of an image of 64 MB took $grown MB on $type"
	diff --recursive "$tree" "$(udocker inspect -p e)" || fail "the second container differs on $type"
	udocker verify lab/tool:1 >/dev/null
	settings=(UDOCKER_IMAGE_TREES=false)
	udocker create --name=f lab/tool:1 >/dev/null
	settings=()
	diff --recursive "$tree" "$(udocker inspect -p f)" || fail "the container of the layers differs on $type"
	udocker rmi lab/tool:1
	[[ -z $(find "$trees" -mindepth 1) ]] || fail "the tree outlives its image on $type"
	udocker run --nobanner e sh -c true || fail "the tree's end took the container along on $type"
	echo "$type: a second container of 64 MB took $grown MB"
done

# exceeds QUOTA COMMAND…: runs it with so much for everything, which is not enough.
exceeds() {
	btrfs qgroup limit "$1" "$home"
	! udocker "${@:2}" >/dev/null 2>"$work/errors" || fail "${*:2} fits into a quota of $1"
	grep --quiet 'Disk quota exceeded' "$work/errors" || fail "${*:2} says: $(cat "$work/errors")"
	grep --quiet 'MB are needed' "$work/errors" || fail "${*:2} does not say how much: $(cat "$work/errors")"
}

# serve: the same image from a registry, whose address comes to stand in $registry.
serve() {
	local blobs=$work/www/v2/lab/tool/blobs layer config
	mkdir -p "$blobs" "$work/www/v2/lab/tool/manifests"
	layer=sha256:$(sha256sum "$work/tree.tar" | cut -d ' ' -f 1) config=sha256:$(printf '{}' | sha256sum | cut -d ' ' -f 1)
	cp "$work/tree.tar" "$blobs/$layer"
	printf '{}' >"$blobs/$config"
	printf '{"config": {"digest": "%s", "size": 2}, "layers": [{"digest": "%s", "size": %d}]}' \
		"$config" "$layer" "$(stat --format %s "$work/tree.tar")" >"$work/www/v2/lab/tool/manifests/1"
	python3 -u -m http.server --bind 127.0.0.1 --directory "$work/www" 0 >"$work/served" 2>/dev/null &
	until registry=$(grep --only-matching 'http://[0-9.:]*' "$work/served"); do sleep 0.1; done
}

# Kernels without quotas for users have those of btrfs; the answer to who exceeds them is the same.
if mountpoint --quiet "$work/btrfs.mount"; then
	home=$work/btrfs.mount/limited
	btrfs quota enable "$work/btrfs.mount"
	btrfs subvolume create "$home" >/dev/null
	chown 1000:1000 "$home"
	serve
	udocker pull "$registry/lab/tool:1"
	udocker save -o "$home/saved.tar" "$registry/lab/tool:1"
	mv "$home/saved.tar" "$work"
	udocker rmi "$registry/lab/tool:1"
	exceeds 40M pull "$registry/lab/tool:1"
	exceeds 40M load -i "$work/saved.tar"
	exceeds 40M import "$work/tree.tar" lab/tool:1
	exceeds 40M import --tocontainer "$work/tree.tar"
	[[ -z $(udocker images)$(udocker ps | tail -n +2) ]] || fail "listed: $(udocker images; udocker ps)"
	btrfs qgroup limit none "$home"
	udocker import "$work/tree.tar" lab/tool:1
	exceeds 100M create lab/tool:1
	grep --quiet "layer '.*cannot write 'large'" "$work/errors" || fail "create says: $(cat "$work/errors")"
	[[ $(udocker ps | wc -l) == 1 ]] || fail "listed: $(udocker ps)"
	udocker rmi lab/tool:1
	udocker gc --all >/dev/null
	left=$(find "$home/.udocker" -type f -size +0)
	[[ -z $left ]] || fail "left behind: $left"
	btrfs qgroup limit none "$home"
	with_container
	echo "a quota: named, with layer, file and size, and nothing left behind"
fi

mounted ext4 -q
with_container
chmod -R a+rX "$home"
owner=$home home=$work/stranger
install -d --owner 1001 --group 1001 "$home"
settings=("UDOCKER_DIR=$owner/.udocker")
for command in images ps 'inspect c' 'inspect lab/tool:1' 'verify lab/tool:1' 'run --nobanner c sh -c true'; do
	read -ra arguments <<<"$command"
	as 1001 "$work/udocker" --quiet "${arguments[@]}" >/dev/null 2>"$work/errors" || fail "$command: $(cat "$work/errors")"
	[[ ! -s $work/errors ]] || fail "$command says: $(cat "$work/errors")"
done
echo "another user's repository: served in silence"

# The device ends in the middle of what is on it. Containers are elsewhere, since what is written
# behind its end would make the file longer again that stands for it.
install -d --owner 1000 --group 1000 "$work/elsewhere"
home=$owner settings=("UDOCKER_CONTAINERS=$work/elsewhere")
umount "$work/ext4.mount"
mount -o loop "$work/ext4" "$work/ext4.mount"
layer=$(find "$home/.udocker/layers/" -name 'sha256:*' -size +10M)
block=$(filefrag -v "$layer" | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
truncate --size "$((block * 4096))" "$work/ext4"
for command in 'verify lab/tool:1' 'create lab/tool:1'; do
	read -ra arguments <<<"$command"
	! udocker "${arguments[@]}" >/dev/null 2>"$work/errors" || fail "$command does not see that the disk fails"
	grep --quiet 'layer .*Input/output error' "$work/errors" || fail "$command says: $(cat "$work/errors")"
done
echo "a disk that fails: named, with the layer"
