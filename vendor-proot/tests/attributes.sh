# shellcheck shell=bash disable=SC2016,SC2154
# What emulated root makes of files is remembered, also by the next run and by others at once.
attributes=$work/attributes
rm -rf "$root/kept" "$attributes"
mkdir "$root/kept"
remembering() { guest -0 --attributes "$attributes" -w /kept "$@"; }
export -f guest remembering
export attributes
# shown DESCRIPTION EXPECTED FORMAT FILE...
shown() {
    local description=$1 expected=$2 format=$3
    shift 3
    same "$description" "$expected" "$(remembering busybox stat -c "$format" "$@" 2>&1 </dev/null | xargs)"
}

status 'give away' 0 remembering sh -ec 'echo x >f; ln f hard; ln -s f soft; busybox mkdir d; echo x >same; echo x >group
    busybox chown 33:44 f; busybox chown -h 5:6 soft; busybox chown 7:8 d; busybox chown 0:0 same; busybox chgrp 9 group; [ "$(busybox stat -c %u:%g f)" = 33:44 ]'
shown 'owners' '33:44 33:44 5:6 7:8 0:0 0:9' %u:%g f hard soft d same group
same 'links are links' 2 "$(stat -c %h "$root/kept/f")"
same 'the host knows nothing' "$(id -u):$(id -g)" "$(stat -c %u:%g "$root/kept/f")"
status 'fstat and statx' 0 remembering probe attributes f 33 44 100644
status 'give back' 0 remembering sh -ec 'busybox chown 0:0 f; busybox mv d e; echo new >f; rm same; echo x >same'
shown 'after that' '0:0 7:8 0:0' %u:%g f e same
status 'access whatever the mode is' 0 remembering sh -ec 'busybox chmod 0 f; echo y >f; busybox chmod 4510 e; echo z >e/g; busybox mkdir -m 70 m; busybox cp f n; cat n
    [ "$(busybox stat -c %a f)" = 0 ]; busybox chown 3:4 f'
shown 'modes' '0 70' %a f m
shown 'modes with special bits' '4510' %a e
shown 'created without permissions' '0' %a n
chmod 640 "$root/kept/m"
shown 'changed by the host since' '640' %a m
status 'devices' 0 remembering sh -ec 'busybox mknod -m 620 c c 4 65; busybox mknod b b 8 1; busybox chmod 600 b; [ -c c ] && [ -b b ] && ! [ -f c ] && ! busybox mknod c c 4 65; busybox mv c t'
shown 'devices' 'character special file 4,41,620 block special file 8,1,600' '%F %t,%T,%a' t b
status 'what users make' 0 remembering probe as 12 34 sh -ec 'echo x >user; busybox mkdir userdir; ln -s x userlink'
shown 'what users made' '12:34 12:34 12:34' %u:%g user userdir userlink
status 'a directory of a group' 0 remembering sh -ec 'busybox mkdir shared; busybox chgrp 50 shared; busybox chmod 2777 shared; cd shared
    echo x >file; busybox mkdir dir; ln -s x link; busybox mknod -m 644 device c 1 2; probe socket /kept/shared/socket
    probe as 12 34 sh -ec "echo x >user; busybox mkdir userdir"; busybox mkdir plain; busybox chmod 755 plain; echo x >plain/file; busybox mv plain/file moved'
shown 'gives it to new entries' '0:50,644 0:50,2755 0:50,777 0:50,644 12:50,644 12:50,2755 0:0,644' %u:%g,%a shared/{file,dir,link,device,user,userdir,moved}
shown 'of any kind' '0:50 0:50' %u:%g shared/{socket,plain}
status 'what root made is not that of a user it becomes' 0 remembering sh -ec 'busybox mkdir roots given; busybox chown 12:34 given; probe as 12 34 sh -ec "
    [ \$(busybox stat -c %u:%g roots) = 0:0 ]; [ \$(busybox stat -c %u:%g given) = 12:34 ]; [ -O given ]; ! [ -O roots ]
    probe openat2 own 600; [ -O own ]; probe socket /kept/socket; [ -O socket ]"'
status 'inodes used again' 0 remembering sh -ec 'i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo >r; busybox chown 50:50 r; rm r; echo >r; [ "$(busybox stat -c %u r)" = 0 ]; rm r; done'
status 'another run at the same time' 0 remembering sh -ec 'echo >one; busybox chown 60:60 one'
remembering sh -ec 'i=0; while [ "$(busybox stat -c %u two)" != 61 ] && [ $i -lt 500 ]; do i=$((i + 1)); sleep 0.02; done; busybox stat -c %u two' </dev/null >"$work/seen" 2>/dev/null &
sleep 0.3
status 'which tells it' 0 remembering sh -ec 'echo >two; busybox chown 61:61 two'
wait $!
same 'is seen' 61 "$(cat "$work/seen")"
status 'as somebody' 0 guest -i 1000:1000 --attributes "$attributes" -w /kept sh -c '[ "$(busybox stat -c %u one)" = 60 ] && ! busybox chown 1:1 one'
status 'not at all without the file' 0 guest -0 -w /kept sh -c '[ "$(busybox stat -c %u one)" = 0 ]'
before=$(wc -l <"$attributes")
status 'as a package manager does' 0 remembering sh -ec 'i=0; : >empty; busybox chmod 0 empty; while [ $i -lt 20 ]; do i=$((i + 1)); busybox cp empty p; [ "$(busybox stat -c %a p)" = 0 ]; busybox chown 0:0 p; busybox chmod 644 p; [ "$(busybox stat -c %a p)" = 644 ]; rm p; done; busybox cp empty last'
same 'takes few lines' 2 "$(($(wc -l <"$attributes") - before))"
shown 'what was pending is written' 0 %a last

# As many temporary files of another user make it.
superseded() {
    local inode birth uid gid rest i
    read -r inode birth uid gid rest < <(grep "^$(stat -c %i "$root/kept/one") " "$attributes" | tail -n 1)
    for ((i = 0; i < 2000; i++)); do echo "$inode $birth $i $i $rest"; done >>"$attributes"
    echo "$inode $birth $uid $gid $rest" >>"$attributes"
}
superseded
before=$(stat -c %i "$attributes")
remembering sh -c 'until [ -e go ]; do sleep 0.02; done; busybox chown 62:62 two' </dev/null 2>/dev/null &
other=$!
for ((i = 0; i < 500 && $(stat -c %i "$attributes") == before; i++)); do sleep 0.02; done
[ "$(wc -l <"$attributes")" -lt 500 ]
same 'superseded lines are dropped by the next run' 0 $?
shown 'those that count are kept' '60:60 61:61 0:50 12:34' %u:%g one two shared user
status 'what root made before is still its' 0 remembering probe as 12 34 sh -c '[ "$(busybox stat -c %u:%g roots)" = 0:0 ]'
superseded
before=$(wc -l <"$attributes")
status 'not while another run uses them' 0 remembering busybox chown 63:63 one
same 'since it adds to them' "$((before + 1))" "$(wc -l <"$attributes")"
touch "$root/kept/go"
wait "$other"
shown 'nothing is lost' '63:63 62:62' %u:%g one two
same 'then they are dropped' yes "$([ "$(wc -l <"$attributes")" -lt 500 ] && echo yes)"
superseded
echo old >"$attributes.new"
for i in 1 2 3 4; do
    remembering sh -ec "echo >at-once$i; busybox chown $i:$i at-once$i" </dev/null 2>/dev/null &
done
wait
shown 'by several runs at once' '1:1 2:2 3:3 4:4 63:63' %u:%g at-once{1,2,3,4} one
[ ! -e "$attributes.new" ]
same 'and what a killed one has left is removed' 0 $?
status 'as before' 0 remembering busybox chown 60:60 one
echo 'garbage 1 2' >>"$attributes"
printf '1 2' >>"$attributes"
shown 'a damaged file' '60:60' %u:%g one
chmod 400 "$attributes"
shown 'a file that cannot be written' '60:60' %u:%g one
status 'for this run only' 0 remembering sh -ec 'busybox chown 70:70 one; [ "$(busybox stat -c %u one)" = 70 ]'
shown 'then' '60:60' %u:%g one
rm -f "$attributes"
ln -s "$work/elsewhere" "$attributes"
status 'a link is not followed' 0 remembering true
[ ! -e "$work/elsewhere" ]
same 'and nothing is made where it leads' 0 $?
rm -rf "$root/kept" "$attributes"
