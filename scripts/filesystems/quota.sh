# shellcheck shell=bash
# Part of show-filesystems.sh: a quota that is exceeded.

# exceeds QUOTA COMMAND…: runs udocker with a quota that is too small.
exceeds() {
	btrfs qgroup limit "$1" "$home"
	! udocker "${@:2}" >/dev/null 2>"$work/errors" || fail "${*:2} fits into a quota of $1"
	grep --quiet 'Disk quota exceeded' "$work/errors" || fail "${*:2} says: $(cat "$work/errors")"
	grep --quiet 'MB are needed' "$work/errors" || fail "${*:2} does not say how much: $(cat "$work/errors")"
}

# serve: serves the same image as a registry does, and sets `registry` to its address.
serve() {
	local blobs=$work/www/v2/lab/tool/blobs layer config
	mkdir -p "$blobs" "$work/www/v2/lab/tool/manifests"
	layer=sha256:$(sha256sum "$work/tree.tar" | cut -d ' ' -f 1) config=sha256:$(printf '{}' | sha256sum | cut -d ' ' -f 1)
	cp "$work/tree.tar" "$blobs/$layer"
	printf '{}' >"$blobs/$config"
	printf '{"config": {"digest": "%s", "size": 2}, "layers": [{"digest": "%s", "size": %d}]}' \
		"$config" "$layer" "$(stat --format %s "$work/tree.tar")" >"$work/www/v2/lab/tool/manifests/1"
	: >"$work/served"
	python3 -u -m http.server --bind 127.0.0.1 --directory "$work/www" 0 >"$work/served" 2>/dev/null &
	until registry=$(grep --only-matching 'http://[0-9.:]*' "$work/served"); do sleep 0.1; done
}

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
