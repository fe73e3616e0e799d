# In the guest: a package with foreign owners, whose script switches users, from a repository of files.
set -e
work=/tmp/deb-$$
mkdir -p $work/repository $work/control $work/data/opt/t $work/lists/partial $work/cache/archives/partial
cd $work
echo content >data/opt/t/f
printf '%s\n' 'Package: local-tool' 'Version: 1' 'Architecture: all' \
	'Maintainer: t <t@localhost>' 'Description: t' >control/control
cat >control/postinst <<'END'
#!/bin/sh
set -e
chown games:mail /opt/t/f
chmod 4750 /opt/t/f
mkdir /opt/t/spool
chown news /opt/t/spool
su news -s /bin/sh -c 'id -u >/opt/t/spool/who'
END
chmod 755 control/postinst
tar -C control -czf control.tar.gz ./control ./postinst
tar -C data --owner=news:9 --group=mail:8 -czf data.tar.gz ./opt
echo 2.0 >debian-binary
ar rc repository/tool.deb debian-binary control.tar.gz data.tar.gz
size=$(stat -c %s repository/tool.deb) hash=$(sha256sum repository/tool.deb | cut -d ' ' -f 1)
{ cat control/control; echo "Filename: ./tool.deb"; echo "Size: $size"; echo "SHA256: $hash"; } >repository/Packages
echo "deb [trusted=yes] file:$work/repository ./" >sources.list
# No option says anything of apt's own user.
apt() {
	apt-get --quiet --quiet -o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=/none \
		-o Dir::State::Lists=$work/lists -o Dir::Cache=$work/cache -o DPkg::Lock::Timeout=200 "$@" >log 2>&1 ||
		{ cat log >&2; exit 1; }
}
apt update --error-on=any
apt install --yes local-tool
cat /opt/t/f
stat -c '%U:%G %a' /opt/t/f
cat /opt/t/spool/who
dpkg --purge local-tool >/dev/null
rm -rf $work /opt/t
