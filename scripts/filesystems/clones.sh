# shellcheck shell=bash
# Part of show-filesystems.sh: clones of containers, and containers cloned from the tree of an
# image.

# show_clones TYPE: on a file system that `mounted` has mounted.
show_clones() {
	local type=$1 before grown original copy trees
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

	# Nor does a change show in containers from the image's tree, which is removed with the image.
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
	udocker run --nobanner e sh -c true || fail "removing the tree damaged the container on $type"
	echo "$type: a second container of 64 MB took $grown MB"
}
