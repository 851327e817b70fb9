#!/bin/sh
# Unpacks Debian packages into a folder, with what they need and this machine
# lacks, without installing them: for the tests' peers that conflict with each
# other as packages, as syslog-ng does with rsyslog. Nothing is run or configured.
#
#   aside.sh DIR PACKAGE...
set -eu
dir=$1
shift
[ -e "$dir/.done" ] && [ "$(cat "$dir/.done")" = "$*" ] && exit 0
echo "正在解包 / unpacking into $dir: $*" >&2
rm -rf "$dir"
mkdir -p "$dir/archives"
[ "$(id -u)" != 0 ] || apt-get update -qq
# What apt would install, told without installing it.
wanted=$(apt-get install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
# shellcheck disable=SC2086
(cd "$dir/archives" && apt-get download -qq -o APT::Sandbox::User=root $wanted "$@")
for archive in "$dir"/archives/*.deb; do
	dpkg -x "$archive" "$dir"
done
rm -r "$dir/archives"
echo "$*" >"$dir/.done"
