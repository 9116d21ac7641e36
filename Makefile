# make help lists the targets. MODE is debug, release, asan or tsan; V=1 shows the commands.

# What is installed is the release build, what is worked on the debug build.
MODE   ?= $(if $(filter install,$(MAKECMDGOALS)),release,debug)
PREFIX ?= /usr/local
CC     ?= cc
CLANG_FORMAT ?= clang-format-14
FUZZ_CC ?= clang-14
FUZZ_SECONDS ?= 60
SEEDS  ?= 10000
PG ?= $(PG_VERSION)
B      := build/$(MODE)
Q      := $(if $(V),,@)
say     = $(if $(V),,@echo '  $(1)')

VERSION := 0.1.0
PKGS := rdkafka libpq sqlite3 jansson libcurl libfyaml avro-c gmp libmicrohttpd libpcre2-8 libcrypto
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef
MODE.debug   := -Og -g3 -Werror
MODE.release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
MODE.asan    := -Og -g3 -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
MODE.tsan    := -Og -g3 -Werror -fsanitize=thread
MODE.fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FLAGS := -std=c11 -D_GNU_SOURCE -DTOWLINE_VERSION='"$(VERSION)"' -I. $(WARN) $(MODE.$(MODE)) \
         $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
LIBS  := $(shell pkg-config --libs $(PKGS)) -lpthread -lm
# librdkafka's C11 threads, so that ThreadSanitizer sees them: tests/tsan/threads.c
ifeq ($(MODE),tsan)
TSAN_OBJ := $(B)/tests/tsan/threads.o
LDFLAGS += -Wl,-E
endif

ROOMS := core schemas producer consumer control
SRCS  := $(wildcard $(ROOMS:%=%/*.c))
LIB   := $(patsubst %.c,$(B)/%.o,$(filter-out control/main.c,$(SRCS)))
MANPAGES := $(patsubst docs/%.scd,build/%,$(wildcard docs/*.scd))
TESTS := $(wildcard tests/unit/*_test.c)
FUZZ  := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/*_fuzz.c))
SIM   := $(wildcard tests/sim/*.c)
HDRS  := $(wildcard $(ROOMS:%=%/*.h) tests/*.h tests/*/*.h)

## all: build the program (the default)
all: $(B)/towline

$(B)/towline: $(LIB) $(B)/control/main.o $(TSAN_OBJ)
	$(call say,LD  $@)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Tests link an archive of every room, so that each pulls in only what it uses.
$(B)/libtowline.a: $(LIB)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/tests/%: $(B)/tests/%.o $(B)/libtowline.a
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(B)/libtowline.a -lcmocka $(LIBS)

$(B)/tests/sim/sim: $(SIM:%.c=$(B)/%.o) $(B)/libtowline.a
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# A fuzz target has libFuzzer's main, or one that runs it over files.
$(B)/tests/fuzz/%_fuzz: $(B)/tests/fuzz/%_fuzz.o $(if $(filter fuzz,$(MODE)),,$(B)/tests/fuzz/replay_main.o) $(B)/libtowline.a
	$(Q)$(CC) $(FLAGS) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/%.o: %.c
	$(call say,CC  $<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) -MMD -MP -c -o $@ $<

CHECK := build unit sim sim-planted fuzz-replay headers tidy cli house

## check: what must pass before a commit; needs no server
check:
	+$(Q)MAKE='$(MAKE)' tests/summary $(B)/check $(CHECK)

## check-all: check, the unit tests under ASan and UBSan, and real PostgreSQL and Kafka
check-all:
	+$(Q)MAKE='$(MAKE)' tests/summary $(B)/check $(CHECK) 'MODE=asan build' 'MODE=asan unit' 'MODE=asan sim' 'MODE=asan fuzz-replay' flow versions bank

# Everything that the parts of a check run, so that they themselves are only tests. (A directory has the name as well.)
build: all $(TESTS:%.c=$(B)/%) $(FUZZ) $(B)/tests/sim/sim

## unit: run the unit and golden tests
unit: $(TESTS:%.c=$(B)/%)
	$(Q)tests/run $^

## sim: SEEDS (10000) histories of the core with crashes, zombies, losses; one again: build/debug/tests/sim/sim SEED
sim: $(B)/tests/sim/sim
	$(Q)$< --seeds $(SEEDS)

## sim-planted: each mistake on purpose is found by it
sim-planted: $(B)/tests/sim/sim
	$(Q)tests/sim/planted.sh $<

## golden: write the golden files of the unit tests anew; read the difference before you keep it
golden: $(TESTS:%.c=$(B)/%)
	-$(Q)GOLDEN_WRITE=1 UPDATE=1 tests/run $^
	$(Q)git diff --stat -- tests/golden

## fuzz-replay: each fuzz target over its corpus
fuzz-replay: $(FUZZ)
	$(Q)ok=0; bad=0; for f in $^; do \
		if $$f tests/fuzz/corpus/$$(basename $$f _fuzz); then ok=$$((ok + 1)); else bad=$$((bad + 1)); echo "FAIL  $$f"; fi; \
	done; echo "$$ok passed, $$bad failed"; [ $$bad = 0 ]

## fuzz: search by libFuzzer (clang), FUZZ_SECONDS (60) for each target; what it finds stays in build/fuzz
fuzz:
	+$(Q)$(MAKE) --no-print-directory MODE=fuzz CC=$(FUZZ_CC) fuzz-search

fuzz-search: $(FUZZ)
	$(Q)for f in $^; do \
		name=$$(basename $$f _fuzz); mkdir -p $(B)/corpus/$$name; \
		$$f -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 -artifact_prefix=$(B)/$$name- \
			$(B)/corpus/$$name tests/fuzz/corpus/$$name || exit 1; \
	done

## headers: each header compiles on its own
headers:
	$(Q)ok=0; bad=0; for h in $(HDRS); do \
		if $(CC) $(FLAGS) -fsyntax-only -x c $$h; then ok=$$((ok + 1)); else bad=$$((bad + 1)); echo "FAIL  $$h"; fi; \
	done; echo "$$ok passed, $$bad failed"; [ $$bad = 0 ]

## tidy: the rules of style that a script can hold; tests/tidy -v lists the notes too
tidy: $(LIB) $(B)/control/main.o $(B)/towline
	$(Q)tests/tidy $^

## cli: the command line as a user meets it
cli: $(B)/towline
	$(Q)MODE=$(MODE) tests/cli.sh

## house: the tests of the tests
house:
	$(Q)tests/tidy_test.sh

## flow: tests with real PostgreSQL and Kafka (Java 17 and Maven), PG=17: that version; one alone: tests/flow/run tests/flow/NAME.sh
flow: build $(patsubst %.c,$(B)/%,$(wildcard tests/flow/*_test.c))
	$(Q)tests/flow/selftest.sh
	$(Q)MODE=$(MODE) PG_VERSION=$(PG) tests/flow/run

# What differs between versions of PostgreSQL: the stream, the slot, the types.
VERSION_FLOWS := $(patsubst %,tests/flow/%.sh,10-main 20-kill 57-types)

## versions: the flow tests of stream, slot and types with PostgreSQL 14, 16, 17 and 18 (the machine's is in flow)
versions: build
	+$(Q)MAKE='$(MAKE)' tests/summary $(B)/versions $(patsubst %,'version PG=%',14 16 17 18)

version: build
	$(Q)MODE=$(MODE) PG_VERSION=$(PG) tests/flow/run $(VERSION_FLOWS)

## flow-versions: every flow test with each of PostgreSQL 14 to 18, fetched by Maven
flow-versions: build $(patsubst %.c,$(B)/%,$(wildcard tests/flow/*_test.c))
	+$(Q)MAKE='$(MAKE)' tests/summary $(B)/versions $(patsubst %,'flow PG=%',14 15 16 17 18)

## tsan: the stages of one process under ThreadSanitizer, on real servers
tsan:
	+$(Q)$(MAKE) --no-print-directory MODE=tsan build/tsan/towline
	$(Q)MODE=tsan tests/flow/run tests/tsan/run.sh

## check-faults: every process killed and stopped, network cut, disk full, far behind, two of one name; KILLS=100 SIZE=small|full SEED=n
check-faults: $(B)/towline
	+$(Q)$(MAKE) --no-print-directory MODE=release all
	$(Q)FLOW_REPORT=1 MODE=$(MODE) tests/flow/run $(filter-out %/lib.sh,$(wildcard tests/faults/*.sh))

## bank: the first of them, with 15 kills
bank: $(B)/towline
	$(Q)FLOW_REPORT=1 KILLS=15 MODE=$(MODE) tests/flow/run tests/faults/bank.sh

## bench: measure; the release build, a quiet machine
bench:
	+$(Q)$(MAKE) --no-print-directory MODE=release all $(patsubst %.c,build/release/%,$(wildcard tests/bench/*_bench.c))
	$(Q)if [ -x tests/bench/run ]; then tests/bench/run; else for b in build/release/tests/bench/*_bench; do $$b || exit 1; done; fi

## deps: install the packages that the build and the demo need (Debian, Ubuntu; root or sudo); with KAFKA=1 Java and Maven too
deps:
	@deploy/deps.sh $(if $(KAFKA),kafka)

## demo: install, build, and show the main job live, on a broker in memory; KAFKA=1: a real one. ARGS='--seconds 60' and the like
demo: deps
	+@$(MAKE) --no-print-directory $(if $(findstring j,$(firstword -$(MAKEFLAGS))),,-j$$(nproc)) MODE=release all
	@$(if $(KAFKA),deploy/demo.sh build/release/towline,build/release/towline demo) $(ARGS)

## format: rewrite the C files that differ from the last commit by .clang-format; read the difference
format:
	$(Q)git diff --name-only --diff-filter=d HEAD -- '*.[ch]' | xargs -r $(CLANG_FORMAT) -i

## compile_commands.json: for clangd and clang-tidy
compile_commands.json: $(SRCS) $(TESTS) Makefile
	$(Q){ sep='['; for f in $(SRCS) $(TESTS); do \
		printf '%s{"directory":"%s","file":"%s","command":"%s -c %s"}\n' "$$sep" '$(CURDIR)' $$f \
			'$(subst ','\'',$(subst ",\",$(CC) $(FLAGS)))' $$f; sep=','; \
	done; echo ']'; } > $@

## man: the manual page, by scdoc
man: $(MANPAGES)

build/%: docs/%.scd
	@mkdir -p $(@D)
	$(Q)scdoc < $< > $@

## install: program, manual, systemd unit and sample configuration below DESTDIR and PREFIX (/usr/local); release build
install: $(B)/towline $(if $(shell command -v scdoc),$(MANPAGES))
	install -Dm755 $(B)/towline $(DESTDIR)$(PREFIX)/bin/towline
	for m in $(MANPAGES); do [ ! -f $$m ] || install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man$${m##*.} $$m || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local,$(PREFIX),' deploy/systemd/towline@.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/towline@.service
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/towline deploy/config/towline.yaml deploy/postgres.sql README.md CHANGELOG.md LICENSE

## uninstall: remove what install made; configurations in /etc/towline stay
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/towline $(DESTDIR)$(PREFIX)/lib/systemd/system/towline@.service
	for m in $(notdir $(MANPAGES)); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$$m; done
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/towline

## clean: remove what make made
clean:
	rm -rf build compile_commands.json

## help: this list
help:
	@sed -n 's/^## \([^:]*\): \(.*\)/\1\t\2/p' Makefile | expand -t 24

.PHONY: all bank bench build check check-all check-faults clean cli demo deps flow flow-versions format fuzz fuzz-replay fuzz-search golden headers help house install man sim sim-planted tidy uninstall unit version versions
.SECONDARY:
-include $(patsubst %.c,$(B)/%.d,$(SRCS) $(TESTS) $(SIM)) $(FUZZ:=.d)
