#!/bin/sh
# Measures searches of ten million services, or as many as the first argument
# says, in the embedded store. The data takes some 5 GB below the directory of the
# second argument (a temporary one by default) and is deleted at the end, unless
# KEEP is set.
set -eu
cd "$(dirname "$0")/../.."
services=${1:-10000000}
dir=${2:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$dir"' EXIT
uname -sr
grep -m1 'model name' /proc/cpuinfo
nproc
uptime
go test -count=1 -timeout 3h -run '^TestMeasureSearch$' -v ./console/search -search-services "$services" -search-dir "$dir" -search-rounds "${ROUNDS:-40}"
uptime
