#!/bin/sh
# Runs one Apache Kafka node (KRaft) on loopback, in the foreground, until it is
# killed. For tests and for trying things out; it keeps its log in DIR and
# survives kill -9 as Kafka does.
#
#   run.sh DIR PORT     PORT is the clients', PORT+1 the controller's
#
# KAFKA_LIBS is the folder of its jars (default: target/dependency beside this
# file, where "mvn -q dependency:copy-dependencies" puts them). JAVA is the Java
# to use, 17 or newer; KAFKA_HEAP its heap.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
libs=${KAFKA_LIBS:-$here/target/dependency}
java=${JAVA:-${JAVA_HOME:+$JAVA_HOME/bin/}java}
heap=${KAFKA_HEAP:-384m}
dir=${1:?a directory is needed}
port=${2:?a port is needed}
controller=$((port + 1))

if ! ls "$libs"/kafka_2.13-*.jar >/dev/null 2>&1; then
	echo "run.sh: no Kafka in $libs: run mvn -q dependency:copy-dependencies in $here" >&2
	exit 1
fi

umask 077
mkdir -p "$dir"
conf=$dir/server.properties
cat >"$conf" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=1000
PROPERTIES

export CLASSPATH="$libs/*"
props="-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true"
if [ ! -e "$dir/log/meta.properties" ]; then
	# shellcheck disable=SC2086
	"$java" -Xmx64m $props kafka.tools.StorageTool format --cluster-id AAAAAAAAAAAAAAAAAAAAAA --config "$conf" >&2
fi
# shellcheck disable=SC2086
exec "$java" "-Xmx$heap" "-Xms$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=4 $props kafka.Kafka "$conf"
