# shellcheck shell=bash disable=SC2016,SC2154
# What a program is told about itself.
status 'the path of the program' 0 guest -w /bin sh -c './probe vectors ./probe'
status 'found by PATH' 0 guest sh -c 'probe vectors /bin/probe'
long=/bin/$(printf 'long%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25)
ln -sf probe "$root$long"
status 'a path longer than that of the loader' 0 guest sh -c '"$1" vectors "$1"' - "$long"
status 'whatever argv[0] is' 0 guest sh -c 'exec -a other /bin/probe vectors /bin/probe'
rm "$root$long"
