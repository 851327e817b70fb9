#!/bin/sh
# Measures how fast the collector takes syslog in beside Debian's rsyslog and
# syslog-ng, all of them into the same broker, and prints tables in Markdown:
#
#   ingest.sh [flags of the program beside it]
#
# Wants the machine for itself, and for UDP root, since the receive buffers are
# larger than net.core.rmem_max usually allows.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
deploy/setup/packages.sh rsyslog rsyslog-kafka
deploy/setup/aside.sh deploy/setup/aside syslog-ng-core syslog-ng-mod-rdkafka syslog-ng-mod-http pmacct
CGO_ENABLED=0 ${GO:-go} build -trimpath -o bin/fengsui ./cmd/fengsui
CGO_ENABLED=0 ${GO:-go} build -trimpath -o bin/fengsui-ingest ./collector/bench
exec bin/fengsui-ingest "$@"
