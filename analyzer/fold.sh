#!/bin/sh
# Measures the folding of observations into the map, with the embedded broker and
# store: as many hosts as the first argument says, some seven observations each,
# three scans one after another, and a restart.
set -eu
cd "$(dirname "$0")/.."
uname -sr
grep -m1 'model name' /proc/cpuinfo
nproc
uptime
go test -count=1 -timeout 3h -run '^TestMeasureFold$' -v ./analyzer -fold-hosts "${1:-175000}" ${PROFILE:+-cpuprofile "$PROFILE"}
uptime
