# make run    install what is missing, build, and start everything on this machine
# make test   install what the tests need, and run all of them
# make help   the rest
SHELL := /bin/sh
GO ?= go
DATA ?= data

# libpcap's headers and a C compiler are for fengsui-syn alone.
BUILD_PACKAGES := libpcap-dev gcc libc6-dev
# The real peers that the tests speak with.
TEST_PACKAGES := $(BUILD_PACKAGES) rsyslog rsyslog-gnutls rsyslog-elasticsearch rsyslog-kafka bsdutils tshark nginx-light redis-server openssh-server openssh-client \
	softflowd bind9 bind9-dnsutils bind9-utils nsd dnsperf nmap masscan iproute2 nftables openssl curl chromium fonts-noto-cjk postgresql \
	mariadb-server vsftpd memcached dovecot-imapd snmpd lighttpd mosquitto

# Peers that conflict with others as packages: unpacked, not installed.
ASIDE_PACKAGES := syslog-ng-core syslog-ng-mod-rdkafka syslog-ng-mod-http pmacct

LIBCHDB := deploy/libchdb/node_modules/.package-lock.json
PAGE := console/web/dist/index.html
KAFKA := deploy/kafka/target/dependency/.done

.PHONY: help run build test unit lint bench bench-peers bench-sweep bench-dns bench-ingest test-kafka test-corpus fuzz clean build-packages test-packages FORCE

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: build $(LIBCHDB) ## start everything on this machine; data in $(DATA)
	bin/fengsui up --data-dir $(DATA)

build: build-packages $(PAGE) bin/fengsui bin/fengsui-sweep bin/fengsui-syn ## bin/fengsui and its helpers

bin/fengsui: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/fengsui

bin/fengsui-sweep: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/fengsui-sweep

bin/fengsui-syn: FORCE
	CGO_ENABLED=1 $(GO) build -trimpath -o $@ ./cmd/fengsui-syn

build-packages:
	@deploy/setup/packages.sh $(BUILD_PACKAGES)

test-packages:
	@deploy/setup/packages.sh $(TEST_PACKAGES)
	@deploy/setup/aside.sh deploy/setup/aside $(ASIDE_PACKAGES)

# npm checks every package against the hash in the lock file.
$(LIBCHDB): deploy/libchdb/package-lock.json
	npm ci --prefix deploy/libchdb --no-audit --no-fund --loglevel=error
	@touch $@

console/web/node_modules/.package-lock.json: console/web/package-lock.json
	npm ci --prefix console/web --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE): console/web/node_modules/.package-lock.json console/openapi.json $(shell find console/web/src console/web/index.html -type f 2>/dev/null)
	npm run --prefix console/web --silent build

test: test-packages build $(LIBCHDB) lint ## every test, under the race detector
	$(GO) test -race -p 2 -timeout 30m ./...
	$(GO) test -timeout 10m -run 'Corpus|Samples|Hostile|SM4' ./analyzer/match ./analyzer/mask ./internal/gm

unit: ## the tests as they are, without set-up or the race detector
	$(GO) test ./...

lint: ## go vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$($(GO) tool gofumpt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofumpt:"; echo "$$unformatted"; exit 1; fi

bench: build $(LIBCHDB) ## measure; see docs/benchmark-results
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 2s ./analyzer/... ./collector/... ./internal/... ./schemas/...
	$(GO) test -run '^TestThroughput$$|^TestAlertLatency$$' -v -count 1 -timeout 30m ./cmd/fengsui -bench-all-in-one

bench-peers: ## measure the rules beside other engines, over the corpus of FENGSUI_CORPUS
	GO=$(GO) analyzer/match/peers/compare.sh

bench-sweep: test-packages ## measure sweeps of ports beside nmap and masscan
	GO=$(GO) scanner/bench/sweep.sh

bench-ingest: test-packages ## measure taking syslog in beside rsyslog and syslog-ng
	GO=$(GO) collector/bench/ingest.sh

bench-dns: test-packages ## measure resolving names beside dnsperf
	GO=$(GO) scanner/bench/dns.sh

test-corpus: $(LIBCHDB) ## the tests over the whole corpus of FENGSUI_CORPUS
	FENGSUI_CORPUS_ALL=1 $(GO) test -timeout 60m ./analyzer/... ./rules/... ./collector/input/packet

$(KAFKA): deploy/kafka/pom.xml
	cd deploy/kafka && mvn -q -B dependency:copy-dependencies
	@touch $@

test-kafka: $(KAFKA) ## the broker's tests against a real Apache Kafka
	FENGSUI_KAFKA_LIBS=$(CURDIR)/deploy/kafka/target/dependency $(GO) test -count 1 -p 1 -timeout 20m \
		-run 'TestKafka|TestNothingIsLost|TestTryProduce|TestFollowOutlivesTheBroker|TestOffsetsAreGivenOnce' ./internal/kafka ./internal/broker

clean: ## remove what was built; data stays
	rm -rf bin console/web/dist/assets console/web/dist/index.html deploy/kafka/target
