#!/bin/sh
# Measures sweeps of ports beside nmap and masscan, inside network namespaces
# that it makes, and prints tables in Markdown:
#
#   sweep.sh [-rounds 3] [-only NAME]
#
# Wants root, and the machine for itself.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
deploy/setup/packages.sh nmap masscan iproute2 libpcap-dev gcc libc6-dev
exec ${GO:-go} test ./scanner/bench -count 1 -timeout 60m -v -run '^TestSweepBeside$' -args -sweep-beside "$@"
