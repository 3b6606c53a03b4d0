# collab: collaborative filtering inside PostgreSQL
#
#	make && make install		build and install for the server of PG_CONFIG
#	make installcheck			tests against a running server (scripts/test runs everything)
#	make core-check				src/core alone: no PostgreSQL header, no symbol that is not allowed
#	make dist					the release archive

EXTENSION = collab
EXTVERSION = 0.1.0
MODULE_big = collab
DATA = collab--0.1.0.sql
PGFILEDESC = "collab - collaborative filtering"

# Where this file stands: the build may be elsewhere (make -f .../Makefile).
collab_dir := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
sources = $(sort $(patsubst $(collab_dir)/%,%,$(wildcard $(collab_dir)/src/$(1)/*.c)))

CORE_OBJS := $(patsubst %.c,%.o,$(call sources,core))
SERVER_OBJS := $(patsubst %.c,%.o,$(call sources,server) $(call sources,functions))
OBJS = $(CORE_OBJS) $(SERVER_OBJS)

# Regression tests, in this order: "install" creates the extension, and what is
# not named here follows it by name.
REGRESS_FIRST = install
regress_files := $(patsubst $(collab_dir)/sql/%.sql,%,$(wildcard $(collab_dir)/sql/*.sql))
REGRESS := $(filter $(regress_files),$(REGRESS_FIRST)) $(sort $(filter-out $(REGRESS_FIRST),$(regress_files)))

ISOLATION := $(sort $(patsubst $(collab_dir)/test/specs/%.spec,%,$(wildcard $(collab_dir)/test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test

TAP_TESTS := $(if $(wildcard $(collab_dir)/test/t/*.pl),1)
PROVE_TESTS = test/t/*.pl

# -ffast-math would switch the floating-point mode of the whole server, and
# -march=native would tie the library to this machine: neither, anywhere.
# PostgreSQL's own headers leave parameters unused, and where gcc built the
# server they hand clang what only gcc knows.
PG_CFLAGS = -Wall -Wextra -Werror=implicit-function-declaration -Wno-unused-parameter -fvisibility=hidden $(clang_flags)
clang_flags = $(if $(findstring clang,$(shell $(CC) --version)),-Wno-unknown-warning-option -Wno-ignored-attributes -Wno-ignored-optimization-argument)
PG_CPPFLAGS = -I$(srcdir)/src $(export_flags)

# -fvisibility=hidden keeps the core's names from other extensions; before
# PostgreSQL 16 its own macros do not export what must be seen.
export_flags = $(if $(filter 14 15,$(MAJORVERSION)),-DPGDLLEXPORT='__attribute__((visibility("default")))')
SHLIB_LINK = -lm -ldl -lpthread

EXTRA_CLEAN = build $(EXTENSION)-$(EXTVERSION).zip

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The core knows no PostgreSQL: its objects get no include path but their own.
CORE_CFLAGS = -std=c11 -O3 -fno-math-errno -ffp-contract=fast -Wunused-parameter
core_cppflags := -I$(srcdir)/src/core $(filter-out -I%,$(CPPFLAGS))
$(CORE_OBJS) $(CORE_OBJS:.o=.bc): override CPPFLAGS := $(core_cppflags)
$(CORE_OBJS): override CFLAGS += $(CORE_CFLAGS)
$(CORE_OBJS:.o=.bc): override BITCODE_CFLAGS += $(CORE_CFLAGS)

# A build elsewhere than in the source tree needs the folders (not as targets:
# VPATH would find those of the source tree).
$(shell $(MKDIR_P) $(sort $(dir $(OBJS))))

# Objects follow their headers also where the server was built without --enable-depend.
ifneq ($(autodepend),yes)
headers := $(wildcard $(collab_dir)/src/*/*.h)
$(CORE_OBJS) $(CORE_OBJS:.o=.bc): $(filter $(collab_dir)/src/core/%,$(headers))
$(SERVER_OBJS) $(SERVER_OBJS:.o=.bc): $(headers)
endif

# The floor under the server: compiles strictly by itself, and refers to
# nothing that is not on the list in test/unit.
core-check:
	@for file in $(addprefix $(srcdir)/,$(CORE_OBJS:.o=.c)); do \
		echo "$(CC) -std=c11 -Wall -Wextra -Werror -fsyntax-only $$file"; \
		$(CC) -std=c11 -Wall -Wextra -Werror -fsyntax-only "$$file" || exit 1; \
	done
	@if grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](postgres|server/|functions/|\.\./)' $(srcdir)/src/core/*.[ch]; \
	then echo 'src/core must not reach outside itself' >&2; exit 1; fi
	@if grep -nE '^[[:space:]]*#[[:space:]]*include.*functions/' $(srcdir)/src/server/*.[ch]; \
	then echo 'src/server must not include src/functions' >&2; exit 1; fi
	$(MAKE) -C $(srcdir)/test/unit check-symbols CC='$(CC)' BUILD='$(CURDIR)/build/core-check'

dist:
	git -C $(srcdir) archive --format zip --prefix=$(EXTENSION)-$(EXTVERSION)/ \
		--output '$(CURDIR)/$(EXTENSION)-$(EXTVERSION).zip' HEAD

.PHONY: core-check dist
