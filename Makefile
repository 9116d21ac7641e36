# make help lists the targets. MODE is debug, release, asan or tsan; V=1 shows the commands.

MODE   ?= debug
PREFIX ?= /usr/local
CC     ?= cc
B      := build/$(MODE)
Q      := $(if $(V),,@)
say     = $(if $(V),,@echo '  $(1)')

VERSION := 0.1.0
PKGS := rdkafka libpq sqlite3 jansson libcurl libfyaml libxxhash libpcre2-8
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef
MODE.debug   := -Og -g3 -Werror
MODE.release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
MODE.asan    := -Og -g3 -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
MODE.tsan    := -Og -g3 -Werror -fsanitize=thread
FLAGS := -std=c11 -D_GNU_SOURCE -DTOWLINE_VERSION='"$(VERSION)"' -I. $(WARN) $(MODE.$(MODE)) \
         $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
LIBS  := $(shell pkg-config --libs $(PKGS)) -lavro -lgmp -lpthread -lm

ROOMS := core schemas producer consumer control
SRCS  := $(wildcard $(ROOMS:%=%/*.c))
LIB   := $(patsubst %.c,$(B)/%.o,$(filter-out control/main.c,$(SRCS)))
TESTS := $(wildcard tests/unit/*_test.c)
HDRS  := $(wildcard $(ROOMS:%=%/*.h))

## all: build the program (the default)
all: $(B)/towline

$(B)/towline: $(LIB) $(B)/control/main.o
	$(call say,LD  $@)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Tests link an archive of every room, so that each pulls in only what it uses.
$(B)/libtowline.a: $(LIB)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/tests/%: $(B)/tests/%.o $(B)/libtowline.a
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(B)/libtowline.a -lcmocka $(LIBS)

$(B)/%.o: %.c
	$(call say,CC  $<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) -MMD -MP -c -o $@ $<

## check: what must pass before a commit; needs no server
check: unit headers

## unit: run the unit tests
unit: $(TESTS:%.c=$(B)/%)
	$(Q)tests/run $^

## headers: each header compiles on its own
headers:
	$(Q)for h in $(HDRS); do $(CC) $(FLAGS) -fsyntax-only -x c $$h || exit 1; done

## clean: remove what make made
clean:
	rm -rf build compile_commands.json

## help: this list
help:
	@sed -n 's/^## \(.*\): \(.*\)/\1\t\2/p' Makefile | expand -t 24

.PHONY: all check unit headers clean help
.SECONDARY:
-include $(patsubst %.c,$(B)/%.d,$(SRCS) $(TESTS))
