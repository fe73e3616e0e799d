# shellcheck shell=bash disable=SC2016,SC2154
# The fast paths change nothing but the time: the same work gives the same results without them.
[ "$mode" != no-fast ] || return
if ! gcc -O1 -static -w -o "$root/bin/fast" "$here/tests/fast.c" 2>"$work/err" ||
    ! gcc -O1 -static -pthread -w -o "$root/bin/inside" "$here/tests/inside.c" 2>"$work/err"; then
    echo "skipped: fast paths (no static C programs here: $(head -n 1 "$work/err"))"
    return
fi

# A folder and a file that are bound, with links in and out; what the bound folder hides in the
# rootfs has the same names, but other contents.
tree() {
    [ ! -e "$root/w" ] || chmod -R u+rwX "$root/w"
    rm -rf "$root/w" "$work/b" "$root/b" "$root/x" "$root/lib"
    mkdir -p "$root/n/deep" "$root/w/d/e/f" "$root/w/closed" "$root/w/noread" "$root/w/b/sub" "$work/b/sub" "$root/b" "$root/x/y" "$root/lib/sub"
    (
        cd "$root/w" || exit
        echo file >file; echo file >d/file; echo exec >exec; chmod 755 exec; echo ro >rofile; chmod 444 rofile
        mkfifo pipe
        ln -s /w/d abs; ln -s d/e rel; ln -s ../w/d/.. up; ln -s loop loop; ln -s nowhere/x dangling
        ln -s rel chain; ln -s b tobind; ln -s b/link throughbind; ln -s d/ slash; ln -s /proc/self self
        ln -s . todot; ln -s ../../../../../../../../etc far
        ln -s /etc b/link; echo hidden >b/in; ln -s in b/out
        cd "$work/b" || exit
        echo in >in; ln -s in link; ln -s "$root/w/file" out; ln -s /w/d sub/up; echo x >sub/x
        cd "$root" || exit
        ln -s ../w/b x/link; ln -s /x/y lib/y; ln -s ../../b/sub lib/sub/b; echo y >x/y/file
    )
    rm -rf "$root/link" "$root/bound" "$root/chain" "$root/up"
    ln -s w "$root/link"; ln -s /w/d "$root/bound"; ln -s link "$root/chain"; ln -s ../.. "$root/up"
    touch -d 2020-01-01 "$root/w/closed" "$root/w/noread"
    chmod 000 "$root/w/closed"; chmod 300 "$root/w/noread"
}

# both NAME COMMAND...: runs it with and without the fast paths and compares.
both() {
    local name=$1 off
    shift
    for off in 1 0; do
        [ -z "$fresh" ] || tree
        rm -f "$attributes"
        PROOT_NO_FAST=$off timeout -k 1 60 "$engine/proot" -r "$root" -b /proc -b /dev -b "$work/b:/w/b" -b "$work/b:/n/deep" \
            -b "$root/w/file:/x/y/file" "${options[@]}" -w /w "$@" </dev/null >"$work/fast.$off" 2>&1
        echo "status $?" >>"$work/fast.$off"
    done
    same "$name ${options[*]}: as without the fast paths" '' \
        "$(diff -a "$work/fast.1" "$work/fast.0" | head -n 4)"
    same "$name ${options[*]}: it did something" yes "$(tail -n 1 "$work/fast.0" | grep -q 'status [01]$' && echo yes)"
}
attributes=$work/fast.attributes
for set in '' '-0' '-i 1000:1000' '-k 5.4.0 -0' "-0 --attributes $attributes"; do
    read -ra options <<<"$set"
    fresh=
    tree
    for seed in ${SEEDS:-1 2 3}; do both "reading $seed" fast read "$seed" 700; done
    both 'find' busybox find /w /b /x /lib /n -exec busybox stat -c '%n %f %u %g %i %N' {} +
    both 'ls' busybox ls -laR /w /b /x /lib /n /bin /tmp
    fresh=yes
    for seed in ${SEEDS:-1 2 3}; do both "writing $seed" fast write "$seed" 700; done
    both 'special cases' fast fixed
    # What is answered in the guest itself.
    for case in plain addresses processes changes signals registers traced owners many; do
        both "inside, $case" inside "$case"
    done
    both 'inside, programs that are known' sh -ec 'i=0; while [ $i -lt 10 ]; do i=$((i + 1)); inside changes; inside owners; busybox stat -c "%n %s %u %a" file; done'
done

rm -f "$attributes"
remembering() { guest -0 --attributes "$attributes" -w /w "$@"; }
export -f guest remembering
export attributes
remembering inside stat file 8000 </dev/null >"$work/seen" 2>&1 &
sleep 0.3
status 'an owner is given by another run' 0 remembering busybox chown 61 file
wait $!
same 'it is seen' seen "$(cat "$work/seen")"
chmod 755 "$root/w/closed" "$root/w/noread"
rm -rf "$root"/{w,x,b,lib,n,link,bound,chain,up}
