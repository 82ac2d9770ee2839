# The two commands: `make run` shows a call on a demo node; `make test` passes everything.
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: run run-cluster test build packages unit tunnel scenario cluster race fuzz fuzz-turn fuzz-corpus sim bench-edge bench-route bench-state bench-media bench-acd docs clean

# Debian's packages of the real daemons; does nothing when they are there.
packages:
	@deploy/install-packages.sh

build: bin/kamailio-mend.so bin/rtpengine-mend.so
	go build -o bin/ ./cmd/...

# What is loaded into Debian's daemons before all else (docs/adr/0027-mends-of-debians-daemons.md); OpenSSL's libraries by their files, which
# are there without libssl-dev.
MEND = mkdir -p $(@D) && gcc -O2 -Wall -Werror -shared -fPIC -o $@ $<
%/kamailio-mend.so: deploy/mend/kamailio.c
	$(MEND) -Wl,--no-as-needed -l:libcrypto.so.3 -l:libssl.so.3
%/rtpengine-mend.so: deploy/mend/rtpengine.c
	$(MEND)

# ONCE=1 ends after the demo call: exit 0 when both ends heard the other, else the reason.
# IP=192.0.2.10 lets phones on that network register too.
run: packages
	@mkdir -p bin && go build -o bin/demo ./test/demo
	@bin/demo $(if $(ONCE),-once) $(if $(IP),-ip $(IP))

# The same node with three brains on three buses, to be killed at will.
run-cluster: packages
	@mkdir -p bin && go build -o bin/demo ./test/demo
	@bin/demo -cluster $(if $(ONCE),-once) $(if $(IP),-ip $(IP))

test: packages unit sim tunnel scenario cluster fuzz-turn

# What drives daemons or fills the machine goes one package after the other; what waits for a media server's timers, many tests at once.
unit:
	go vet ./...
	go test -count=1 -timeout 20m $$(go list ./... | grep -v -e /test/scenario -e /test/cluster -e /test/contract -e /test/fsim -e /test/state -e /test/ansible)
	go test -count=1 -p 1 $$(go list ./test/fsim/... ./test/contract/... ./test/state/ | grep -v /contract/freeswitch)
	go test -count=1 -parallel 4 -timeout 20m ./test/contract/freeswitch/

# The real cloudflared, which is a module of its own and takes a minute or two to build once, before the real node agent; then
# the Ansible roles that put both on a node.
tunnel:
	cd cloudflared && go vet ./... && go test -count=1 -timeout 15m ./...
	go test -count=1 -timeout 15m ./test/ansible/

# The whole edge: real Kamailio and rtpengine, phones that listen. Nothing else runs beside; those that mostly wait, and have a node of
# their own, run last and two at once.
scenario:
	go test -count=1 -parallel 2 -timeout 60m ./test/scenario/

# Three brains on three buses, killed, stopped and restarted. SIPIO_CLUSTER_RUNS=20 for figures.
cluster:
	go test -count=1 -timeout 30m ./test/cluster/

race:
	go test -race -count=1 $$(go list ./... | grep -v /test/)

# Every parser of foreign bytes, FUZZTIME each.
FUZZTIME ?= 20s
fuzz:
	@test/fuzz.sh $(FUZZTIME)

# Those whose turn it is, a minute each: the commit's hash says which, so that each comes up every few commits.
FUZZTURNS ?= 24
fuzz-turn:
	@test/fuzz.sh 60s $$((16#$$(git rev-parse --short=7 HEAD 2>/dev/null || date +%j))) $(FUZZTURNS)

# Keeps what they have found interesting here in the tree, where the next run begins: after a long make fuzz.
fuzz-corpus:
	@test/fuzz.sh keep

# The machines of live state, played from seeds; SEED=n with SEEDS=1 replays one.
SEEDS ?= 2000
SEED ?= 1
sim:
	go test -count=1 ./brain/sim -run 'TestSim(Queues)?$$' -seeds $(SEEDS) -seed $(SEED)

# What it costs that the brain decides; a few minutes, nothing else should run.
bench-edge: packages
	go run ./test/bench/edge

bench-route:
	go test -count=1 -run '^$$' -bench Route ./test/bench/

# Admissions a second and what they cost, durable and not; memory, recovery. A few minutes, nothing else should run.
bench-state:
	go test -count=1 -run '^$$' -bench State -benchtime 3s ./test/bench/

# Steps of flows a second, and what a node pays for calls in a menu. A minute or two, nothing else should run.
bench-media:
	go test -count=1 -run '^$$' -bench Flow -benchtime 3s ./test/bench/
	go run ./test/bench/media

# From an agent who is free to the order to ring him, beside a dispatcher that polls; then callers served a second in one
# account, and what an event costs by the number of callers. Two to three minutes, nothing else should run.
bench-acd:
	go run ./test/bench/acd
	go test -count=1 -run '^$$' -bench ACD -benchtime 1x ./test/bench/

# The generated documents; tests hold them to the code.
docs:
	go run ./cmd/sipio docs > docs/cli.md
	go test ./test -run TestProtocol -update

clean:
	rm -rf bin run run-cluster
