# shellcheck shell=bash disable=SC2016,SC2154
# Nothing can be changed through --bind-ro; --bind-rw takes paths as they are.
fresh() {
    rm -rf "$root/tmp" "$work/shared"
    mkdir -p "$root"/{tmp,mnt} "$work/shared/dir"
    echo content >"$work/shared/file"
    touch -d @5000 "$work/shared/file"
    ln -s file "$work/shared/link"
    mkfifo "$work/shared/fifo"
}
state() { find "$work/shared" "$root/mnt" -printf '%p %m %s %T@ %l\n' | sort; }
allowed='fifo OK
fifo-access OK
link-out EXDEV
read-access OK
reading OK
reading-create OK
reading-opath OK'
# sorted results of "probe write" but those that are as expected
probed() { timeout 20 bash -c "$(declare -f guest); $(declare -p engine root); \"\$@\"" - "$@" 2>&1 </dev/null | grep -v " $but\$" | sort; }

fresh
but=OK
same 'all is possible through --bind-rw' '' "$(probed guest --bind-rw "$work/shared" /mnt probe write /mnt)"
fresh
but=EROFS
before=$(state)
same 'nothing through --bind-ro' "$allowed" "$(probed guest --bind-ro "$work/shared" /mnt probe write /mnt)"
same 'nor as emulated root' "$allowed" "$(probed guest -0 --bind-ro "$work/shared" /mnt probe write /mnt)"
ln -sfn /mnt "$root/tmp/alias"
same 'nor through a symlink' "$allowed" "$(probed guest --bind-ro "$work/shared" /mnt probe write /tmp/alias)"
same 'nor where the guest path is a symlink' "$allowed" "$(probed guest --bind-ro "$work/shared" /tmp/alias probe write /mnt)"
status 'nor by a bind mount of its own' 0 guest --bind-ro "$work/shared" /mnt probe mounts /mnt
same 'and nothing has changed' "$before" "$(state)"
same 'nothing in a read-only rootfs' "${allowed/EXDEV/EEXIST}" "$(
    cp -a "$work/shared/." "$root/mnt"
    touch "$root/tmp/made-hard"
    probed "$engine/proot" --bind-ro "$root" / -b /proc -b /dev -w / probe write /mnt)"
rm -rf "$root/mnt"
mkdir "$root/mnt"

fresh
mkdir -p "$work/shared/inner" "$work/inner"
status 'rw below ro' 0 guest --bind-ro "$work/shared" /mnt --bind-rw "$work/inner" /mnt/inner sh -c 'echo x >/mnt/inner/f && ! echo x >/mnt/f'
status 'ro below rw' 0 guest --bind-rw "$work/shared" /mnt --bind-ro "$work/inner" /mnt/inner sh -c 'echo x >/mnt/f && ! echo x >/mnt/inner/f'
status 'rw below a read-only rootfs' 0 "$engine/proot" --bind-ro "$root" / -b /dev -b /proc --bind-rw "$work/shared" /mnt -w / sh -c 'echo x >/mnt/g && echo x >/dev/null && ! echo x >/tmp/f'
same 'the last binding of a guest path counts' '' "$(but=OK probed guest --bind-ro "$work/inner" /mnt --bind-rw "$work/shared" /mnt probe write /mnt)"
status 'a single file' 0 guest --bind-ro "$work/shared/file" /tmp/one sh -c 'cat /tmp/one && ! echo x >>/tmp/one && echo x >/tmp/two'
status 'the same folder twice' 0 guest --bind-ro "$work/shared" /mnt --bind-rw "$work/shared" /tmp sh -c 'echo x >/tmp/both && ! echo x >/mnt/both && busybox rm -r /tmp/dir'

mkdir -p "$work/odd:name!" "$root/tmp/g:h"
echo odd >"$work/odd:name!/file"
status 'odd paths' 0 guest --bind-rw "$work/odd:name!" '/tmp/g:h' sh -c 'cat /tmp/g:h/file'
status 'a guest path with a final !' 0 guest --bind-ro "$work/odd:name!" '/tmp/new!' sh -c 'cat /tmp/new!/file'
status 'a missing host path is fatal' 125 guest --bind-rw "$work/missing" /mnt true
status 'a relative guest path is fatal' 125 guest --bind-rw "$work" mnt true
status 'a missing argument is fatal' 125 guest --bind-rw "$work"
