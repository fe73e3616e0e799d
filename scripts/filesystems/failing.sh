# shellcheck shell=bash
# Part of show-filesystems.sh: a repository of another user, and a disk that fails.

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
echo "another user's repository: read without messages"

# A disk with nothing but the layer is shortened to end where the layer begins. `create` is not to
# copy the container that is there.
home=$owner settings=("UDOCKER_IMAGE_TREES=false")
layer=$(find "$home/.udocker/layers/" -name 'sha256:*' -size +10M)
cp --preserve "$layer" "$work/ext2.mount/layer"
umount "$work/ext2.mount"
mount -o loop,ro "$work/ext2" "$work/ext2.mount"
mount --bind "$work/ext2.mount/layer" "$layer"
block=$(filefrag -v "$layer" | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
truncate --size "$((block * 4096))" "$work/ext2"
for command in 'verify lab/tool:1' 'create lab/tool:1'; do
	read -ra arguments <<<"$command"
	! udocker "${arguments[@]}" >/dev/null 2>"$work/errors" || fail "$command does not see that the disk fails"
	grep --quiet 'layer .*Input/output error' "$work/errors" || fail "$command says: $(cat "$work/errors")"
done
echo "a disk that fails: named, with the layer"
