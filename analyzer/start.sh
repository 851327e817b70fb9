#!/bin/sh
# Measures the start of an analyzer that has a large map to read, with the embedded
# broker and store: as many hosts as the first argument says, some six assets each.
set -eu
cd "$(dirname "$0")/.."
uname -sr
grep -m1 'model name' /proc/cpuinfo
nproc
uptime
go test -count=1 -timeout 3h -run '^TestMeasureStart$' -v ./analyzer -start-hosts "${1:-1740000}"
uptime
