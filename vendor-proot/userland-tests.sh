#!/bin/bash
# Installs and uses software in Debian guests, under build/ARCH/proot as emulated root.
#
# vendor-proot/userland-tests.sh [SUITE...]: the default is sid and bookworm. Needs debootstrap, apt
# set up for Debian (the guests come from the same archive), network, and an ordinary user. ROOTS
# names a folder for the guests, which are kept there and used again; the default is a temporary
# one. A suite takes some minutes.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
engine=$here/build/$(uname -m)
[ $# -gt 0 ] || set -- sid bookworm
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
[ -n "$archive" ] || { echo "userland-tests.sh: apt knows no archive" >&2; exit 2; }
if [ -z "${ROOTS-}" ]; then
    ROOTS=$(mktemp -d "${TMPDIR:-/tmp}/proot-userland.XXXXXX")
    trap 'rm -rf "$ROOTS"' EXIT
fi
export PROOT_TMP_DIR=$ROOTS/tmp PROOT_LOADER=$engine/loader PROOT_LOADER_32=$engine/loader-m32
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
# What the caller has set for his own tools (CARGO_TARGET_DIR, ...) is not for those of the guests.
for name in $(compgen -e); do
    case $name in
        PATH | HOME | LC_ALL | DEBIAN_FRONTEND | PROOT_* | ROOTS | *_proxy) ;;
        *) unset "$name" ;;
    esac
done
mkdir -p "$PROOT_TMP_DIR"
failed=0

guest() {
    timeout -k 5 "${limit:-60}" "$engine/proot" --kill-on-exit -0 --attributes "$root.attributes" -r "$root" -b /proc -b /dev -b /sys \
        -b /etc/resolv.conf -w /root "$@" </dev/null >"$ROOTS/log" 2>&1
}

# check DESCRIPTION COMMAND: runs COMMAND in a shell of the guest
check() {
    if guest sh -ec "$2"; then
        echo "ok     $suite: $1"
    else
        failed=$((failed + 1))
        echo "FAILED $suite: $1"
        tail -n 5 "$ROOTS/log"
    fi
}

for suite; do
    root=$ROOTS/$suite
    if [ ! -e "$root/etc/debian_version" ]; then
        rm -rf "$root" "$root.attributes"
        timeout 900 "$engine/proot" --kill-on-exit -0 --attributes "$root.attributes" -w / debootstrap --variant=minbase "$suite" "$root" "$archive" \
            </dev/null >"$ROOTS/log" 2>&1 || { tail "$ROOTS/log"; echo "FAILED $suite: debootstrap"; failed=$((failed + 1)); continue; }
        echo "ok     $suite: debootstrap"
    fi
    limit=900 check 'apt-get install' 'apt-get update || true
        apt-get install -y --no-install-recommends python3-venv gcc libc6-dev git make openssh-server openssh-client postgresql rpm acl xz-utils'
    limit=1800 check 'apt-get install of languages' 'apt-get install -y --no-install-recommends nodejs npm default-jdk-headless golang-go cargo debootstrap'
    check 'owners that packages give' '[ "$(stat -c %U /var/lib/postgresql)" = postgres ]; [ "$(stat -c %G:%a /etc/shadow)" = shadow:640 ]; [ "$(stat -c %U /usr/bin/env)" = root ]'
    check 'tar with links and modes' 'cd /tmp; rm -rf a a.tar; mkdir -p a/d; echo x >a/f; ln -s f a/l; ln a/f a/h; chmod 4755 a/f; chmod 2775 a/d
        tar cf a.tar a; rm -r a; tar xpf a.tar; [ "$(stat -c %a a/f)" = 4755 ]; [ "$(stat -c %a a/d)" = 2775 ]; [ "$(readlink a/l)" = f ]; [ a/f -ef a/h ]'
    check 'modes, links, owners, devices' 'cd /tmp/a; chmod -h 700 l || [ $? = 1 ]; chmod -R g+w .; chown 5:6 f; cp -a f g; [ "$(stat -c %u:%g g)" = 5:6 ]
        mknod n c 1 3; [ -c n ]; rm n; chmod 0 g; [ "$(stat -c %a g)" = 0 ]; cat g; setfacl -m u:5:r f'
    check 'gcc' 'cd /tmp; echo "int main(void) { return 42; }" >a.c; gcc a.c -o a.out; ./a.out || [ $? = 42 ]'
    check 'git' 'cd /tmp; rm -rf one two; git init -q one; cd one; echo x >f; git add f; git -c user.name=a -c user.email=a commit -qm x
        [ -z "$(git status --short)" ]; git clone -q . ../two; [ "$(cat ../two/f)" = x ]'
    check 'venv' 'cd /tmp; rm -rf venv; python3 -m venv venv; [ "$(venv/bin/python -c "import sys; print(sys.prefix)")" = /tmp/venv ]; 
        mkdir -p w/one-1.dist-info; cd w; echo "x = 42" >one.py; printf "Metadata-Version: 2.1\nName: one\nVersion: 1\n" >one-1.dist-info/METADATA
        printf "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n" >one-1.dist-info/WHEEL; printf "one.py,,\none-1.dist-info/RECORD,,\n" >one-1.dist-info/RECORD
        python3 -m zipfile -c ../one-1-py3-none-any.whl one.py one-1.dist-info/; cd ..; venv/bin/pip install --no-index one-1-py3-none-any.whl; venv/bin/python -c "import one; assert one.x == 42"'
    limit=120 check 'java' 'cd /tmp; echo "public class A { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> System.out.println(42)); t.start(); t.join(); } }" >A.java; [ "$(java A.java)" = 42 ]'
    limit=120 check 'node and npm' 'cd /tmp; rm -rf one two; mkdir one two; echo "module.exports = 42" >one/index.js; echo "{\"name\": \"one\", \"version\": \"1.0.0\"}" >one/package.json
        cd two; npm init -y; npm install --offline --no-audit ../one; [ "$(node -p "require(\"one\")")" = 42 ]'
    limit=300 check 'go run' 'mkdir -p /tmp/go; cd /tmp/go; printf "package main\nimport \"os\"\nfunc main() { d, _ := os.Getwd(); println(d) }\n" >main.go; [ "$(GOTOOLCHAIN=local go run main.go 2>&1)" = /tmp/go ]'
    limit=300 check 'cargo build' 'cd /tmp; rm -rf crate; cargo init --vcs none --name one crate; cd crate; cargo build --offline; ./target/debug/one | grep -qF "Hello, world!"'
    limit=900 check 'debootstrap inside' 'rm -rf /tmp/inner; debootstrap --variant=minbase '"$suite"' /tmp/inner '"$archive"'; chroot /tmp/inner dpkg --audit; rm -rf /tmp/inner'
    check 'another user' '[ "$(su nobody -s /bin/sh -c "id -un")" = nobody ]'
    limit=120 check 'postgresql' 'rm -rf /tmp/pg; su postgres -c "set -e; mkdir /tmp/pg; cd /usr/lib/postgresql/*/bin; ./initdb -D /tmp/pg/d; ./pg_ctl -D /tmp/pg/d -o \"-h '"''"' -k /tmp/pg\" -w start
        [ \$(psql -h /tmp/pg -Atc \"select 6*7\" postgres) = 42 ]; ./pg_ctl -D /tmp/pg/d -m fast stop"'
    port=$((20000 + RANDOM % 10000))
    check 'sshd' "mkdir -p -m 700 /run/sshd /root/.ssh; rm -f /root/.ssh/id_*; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
        cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys; /usr/sbin/sshd -p $port -o ListenAddress=127.0.0.1 -o PermitRootLogin=yes -o UsePAM=no
        sleep 1; [ \"\$(ssh -p $port -o StrictHostKeyChecking=no 127.0.0.1 id -un)\" = root ]"
    check 'rpm with foreign owners, also in another root' 'cd /tmp; rm -rf rpms other; mkdir -p rpms other
        printf "%s\n" "Name: t" "Version: 1" "Release: 1" "Summary: t" "License: t" %description t %install "mkdir -p %{buildroot}/opt/t; echo x >%{buildroot}/opt/t/f" %files "%attr(4750,games,mail) /opt/t/f" "%dir %attr(0555,mail,mail) /opt/t" >t.spec
        rpmbuild -bb --define "_rpmdir /tmp/rpms" t.spec; for options in "--dbpath /tmp/rpms/db" "--root /tmp/other --dbpath /db"; do rpm $options --nodeps -i rpms/*/t-1-1.*.rpm; done
        [ "$(stat -c %a:%U:%G /opt/t/f)" = 4750:games:mail ]; rpm --dbpath /tmp/rpms/db --nodeps -V t; [ -e /tmp/other/opt/t/f ]; rpm --dbpath /tmp/rpms/db --nodeps -e t; [ ! -e /opt/t ]'
    check 'mounts and mappings' 'df / | grep -q /; findmnt / >/dev/null; ! grep -F "'"$root"'" /proc/self/maps /proc/self/mountinfo'
done
[ "$failed" -eq 0 ]
