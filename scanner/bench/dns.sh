#!/bin/sh
# Resolves the same names at a local NSD and a local bind9, by scanner/resolve and
# by dnsperf in turns, and prints what each says:
#
#   dns.sh [names [rounds]]
#
# All of it runs in a network namespace of its own with nothing but loopback, so
# wants root. The machine should have nothing else to do: the server, dnsperf and
# ours share its processors.
set -eu
if [ "${FENGSUI_DNS_BENCH:-}" != inside ]; then
	cd "$(dirname "$0")/../.."
	CGO_ENABLED=0 ${GO:-go} build -trimpath -o bin/fengsui-dnsbench ./scanner/bench/dnsbench
	FENGSUI_DNS_BENCH=inside exec unshare --net --mount --pid --fork --kill-child "$0" "$@"
fi
names=${1:-100000}
rounds=${2:-3}
cd "$(dirname "$0")/../.."
bench=$PWD/bin/fengsui-dnsbench
ip link set lo up
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill $nsd $bind 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"

awk -v n="$names" 'BEGIN {
	print "$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1"
	for (i = 0; i < n; i++) printf "n%d IN A 10.%d.%d.%d\n", i, i / 62500, i / 250 % 250, i % 250 + 1
}' >zone
awk -v n="$names" 'BEGIN { srand(1); for (i = 0; i < n; i++) printf "n%d.u1.example A\n", int(rand() * n) }' >present
awk -v n="$names" 'BEGIN { srand(2); for (i = 0; i < n; i++) printf "x%d.u1.example A\n", int(rand() * n) }' >absent

cat >nsd.conf <<CONF
server:
	ip-address: 127.0.0.1@5301
	server-count: 1
	username: ""
	chroot: ""
	zonesdir: "$dir"
	database: ""
	pidfile: ""
	xfrdfile: ""
	xfrdir: "$dir"
	zonelistfile: "$dir/zones.list"
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: u1.example
	zonefile: zone
CONF
cat >named.conf <<CONF
options { directory "$dir"; listen-on port 5302 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no;
	allow-query { any; }; pid-file none; session-keyfile none; dnssec-validation no; notify no; };
controls { };
zone "u1.example" { type primary; file "zone"; };
CONF
PATH=$PATH:/usr/sbin
nsd -d -c nsd.conf >nsd.log 2>&1 &
nsd=$!
named -g -n 1 -c named.conf >named.log 2>&1 &
bind=$!
sleep 5

machine() {
	echo "machine: $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1-3 /proc/loadavg), rmem_max $(cat /proc/sys/net/core/rmem_max)"
	nsd -v 2>&1 | head -1
	named -v
	dnsperf -h 2>&1 | head -1
}
ours() { "$bench" -server "127.0.0.1:$1" -names "$2" -rounds "$3"; }
theirs() {
	/usr/bin/time -f 'cpu_seconds %U user %S system' dnsperf -s 127.0.0.1 -p "$1" -d "$2" -n "$3" -q "$4" 2>&1 |
		grep -E 'sent|completed|lost|Run time|per second|cpu_seconds' | tr -s ' ' | tr '\n' ';'
	echo
}
machine
for server in 5301:NSD 5302:bind9; do
	for file in present absent; do
		i=0
		while [ $i -lt "$rounds" ]; do
			echo "== ${server#*:}, $names names, $file, 5 times through, round $i"
			echo "ours:            $(ours "${server%:*}" $file 5 | tr '\n' ' ')"
			echo "dnsperf -q 100: $(theirs "${server%:*}" $file 5 100)"
			echo "dnsperf -q 500: $(theirs "${server%:*}" $file 5 500)"
			i=$((i + 1))
		done
	done
done
# What is dropped on the way: a twentieth of all packets, in both directions.
if tc qdisc add dev lo root netem loss 5% limit 100000 2>/dev/null; then
	for server in 5301:NSD 5302:bind9; do
		echo "== ${server#*:}, $names names, present, once through, 5 % of all packets lost"
		echo "ours:            $(ours "${server%:*}" present 1 | tr '\n' ' ')"
		echo "dnsperf -q 100, time-out 1 s: $(dnsperf -s 127.0.0.1 -p "${server%:*}" -d present -n 1 -t 1 2>&1 | grep -E 'completed|lost|per second' | tr -s ' ' | tr '\n' ';')"
	done
else
	echo "no netem here: nothing is lost on purpose"
fi
machine
