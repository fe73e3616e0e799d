# In the guest: a package with foreign owners, whose script switches users, built there.
set -e
work=/tmp/rpm-$$
mkdir $work
cd $work
cat >t.spec <<'END'
Name: t
Version: 1
Release: 1
Summary: t
License: t
%description
t
%install
mkdir -p %{buildroot}/opt/r
echo content >%{buildroot}/opt/r/f
%files
%attr(4750,games,mail) /opt/r/f
%dir %attr(0755,mail,mail) /opt/r
%post
su news -s /bin/sh -c 'id -u' >/opt/r/who
END
rpmbuild -bb --quiet --define "_topdir $work" t.spec 2>log || { cat log >&2; exit 1; }
rpm --dbpath $work/db --nodeps -i RPMS/*/t-1-1.*.rpm 2>log || { cat log >&2; exit 1; }
cat /opt/r/f
stat -c '%U:%G %a' /opt/r/f
cat /opt/r/who
rpm --dbpath $work/db --nodeps -e t 2>log
test ! -e /opt/r/f
rm -rf $work /opt/r
