#!/bin/sh
# Measures the analyzer's map with the embedded broker and store:
#
#   fold.sh [HOSTS]         the folding of observations, some seven of a host, by three
#                           scans one after another, and a restart
#   fold.sh start [HOSTS]   a start alone, with some six assets of a host
set -eu
cd "$(dirname "$0")/.."
uname -sr
grep -m1 'model name' /proc/cpuinfo
nproc
uptime
case ${1:-} in
start) set -- TestMeasureStart -start-hosts "${2:-1740000}" ;;
*) set -- TestMeasureFold -fold-hosts "${1:-175000}" ;;
esac
go test -count=1 -timeout 3h -run "^$1\$" -v ./analyzer "$2" "$3" ${PROFILE:+-cpuprofile "$PROFILE"}
uptime
