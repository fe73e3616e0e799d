# shellcheck shell=bash disable=SC2154
# PRoot writes nothing to the stack of a guest.
[ -e "$root/bin/stack" ] || "${CC:-gcc}" -O1 -Wno-format-truncation -static -pthread -o "$root/bin/stack" "$here/tests/stack.c" || exit 2
for options in '' -0; do
    # shellcheck disable=SC2086
    status "calls on small stacks $options" 0 guest $options stack
    same "without a word $options" '' "$(cat "$work/out" "$work/err")"
done
