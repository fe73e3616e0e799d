# shellcheck shell=bash
# Functions of show-filesystems.sh. `work` is its directory, `home` the home of the user who runs
# udocker, `settings` further variables of the environment.

# shellcheck disable=SC2034 # for those who source this
home='' settings=()
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# as UID COMMAND…: runs it as another user, with $home for a home.
as() {
	setpriv --reuid "$1" --regid "$1" --clear-groups env --ignore-environment \
		HOME="$home" PATH=/usr/bin:/bin "${settings[@]}" "${@:2}"
}
udocker() { as 1000 "$work/udocker" --quiet "$@"; }

# mounted TYPE OPTION…: mounts a new file system as $work/TYPE.mount, with a home that belongs to
# user 1000. Returns at the first failure, since `set -e` does not end a function in a condition.
mounted() {
	truncate --size 1G "$work/$1" || return
	"mkfs.$1" "${@:2}" "$work/$1" >/dev/null || return
	mkdir "$work/$1.mount"
	mount -o loop "$work/$1" "$work/$1.mount" || return
	home=$work/$1.mount/home
	install -d --owner 1000 --group 1000 "$home"
}
used() { sync -f "$1"; df --output=used --block-size=1M "$1" | tail -n 1; }

# with_container: makes a container `c` of a small image with one file of 64 MB.
tree=$work/tree
mkdir -p "$tree/bin"
cp /bin/busybox "$tree/bin/sh"
head -c 64M /dev/urandom >"$tree/large"
tar --create --file "$work/tree.tar" --owner 0 --group 0 --directory "$tree" .
with_container() {
	udocker import "$work/tree.tar" lab/tool:1
	udocker create --name=c lab/tool:1 >/dev/null
}
