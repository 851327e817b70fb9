#!/bin/sh
# Measures the rule engine beside its peers and prints tables in Markdown:
#
#   compare.sh [CORPUS [OUT.json [flags of fengsui-peers...]]]
#
# CORPUS is the corpus's folder, by default FENGSUI_CORPUS. Takes about ten minutes
# and wants the machine for itself.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
corpus=$(cd "${1:-${FENGSUI_CORPUS:-$root/../shared/corpus}}" && pwd)
out=${2:-$root/bin/peers.json}
case $out in /*) ;; *) out=$PWD/$out ;; esac
[ $# -gt 2 ] && shift 2 || set --
cd "$root" && CGO_ENABLED=0 ${GO:-go} build -trimpath -o bin/fengsui ./cmd/fengsui
cd "$here" && CGO_ENABLED=0 ${GO:-go} build -trimpath -o "$root/bin/fengsui-peers" .
exec "$root/bin/fengsui-peers" --fengsui "$root/bin/fengsui" --corpus "$corpus" --out "$out" "$@"
