#!/bin/sh
# Sees that Debian packages are installed: installs what is missing when run as
# root, and otherwise says the exact command. Nothing is fetched but packages.
#
#   packages.sh PACKAGE...
set -eu
missing=
for package in "$@"; do
	if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
		missing="$missing $package"
	fi
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "缺少软件包 / these packages are missing; install them with:" >&2
	echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi
echo "正在安装 / installing:$missing" >&2
# Services of these packages (sshd, nginx, bind9 …) are wanted as programs for
# tests, not running: policy-rc.d keeps them from being started.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
