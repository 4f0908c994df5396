# Everything a developer or a visitor types; "make" alone lists it.

PYTHON ?= python3
SERVER ?= pyjabber
SERVERS := prosody ejabberd jabberd2
CLIENTS := finch profanity tmux
INSTALL_CLIENTS = { which $(CLIENTS) >/dev/null || { apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CLIENTS); }; }
VENV := .venv
BIN := $(VENV)/bin
# What scans our TLS wants another version of cryptography than we have.
SCANNER := $(VENV)-scan/installed
# Other Pythons for "make test-all": those that pyenv has.
PYTHONS ?= $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[23].*/bin/python)

.PHONY: help venv lint test test-all soak flood fuzz demo bench bench-scale bench-compare clean

help: ## list the targets (this text)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

venv: $(VENV)/installed ## make a virtual environment with the project in it

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,test]'
	@touch $@

$(SCANNER): Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check 'sslyze>=6.3'
	@touch $@

lint: venv ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Where servers, clients and the scanner are there, or could be installed, a test that misses one
# fails; else it is skipped.
test: lint ## lint, install servers and clients that are missing (asks for root), test
	@if $(MAKE) --quiet $(SCANNER) && $(BIN)/python -m xmpproxy.lab install $(SERVERS) && \
	  $(INSTALL_CLIENTS); \
	then export XMPPROXY_REQUIRE_SERVERS=1; \
	else echo 'Tests with real servers, clients or scanners that are missing will be skipped.'; \
	fi; \
	echo '$(BIN)/trial tests'; $(BIN)/trial tests

test-all: ## run the tests that need no server on other Pythons
	@failed=0; for python in $(PYTHONS); do \
	  venv=$(VENV)-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$venv/bin/trial tests"; \
	  $$python -m venv $$venv && \
	  $$venv/bin/pip install --quiet --disable-pip-version-check --editable '.[demo,test]' && \
	  XMPPROXY_SERVERS=none $$venv/bin/trial --temp-directory $$venv/_trial_temp tests || failed=1; \
	done; exit $$failed

soak: venv ## break networks, the proxy and servers for long: SECONDS=600 SERVER=prosody SEED=1 RESUME=1
	@$(BIN)/python -m xmpproxy.lab install $(SERVERS)
	$(BIN)/python -m tests.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(RESUME),--upstream-resume) $(if $(filter $(SERVERS),$(SERVER)),--server $(SERVER))

flood: venv ## offer 10 MB a second that nobody reads, and watch the memory: SECONDS=60 (a scene)
	$(BIN)/python -m tests.flood $(if $(SECONDS),--seconds $(SECONDS))

fuzz: venv ## look for bytes that break something, each target for SECONDS=60; TARGET=client
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz,test]'
	nice $(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(TARGET),--target $(TARGET))

demo: venv ## play the conversation on every window: SERVER=pyjabber|prosody|ejabberd|jabberd2 KEEP=1
	@$(BIN)/python -m xmpproxy.lab install $(SERVER)
	@$(BIN)/xmpproxy demo --server $(SERVER) $(if $(KEEP),--keep)

bench: venv ## measure speed and memory, beside peers that it installs (as root) or builds: QUICK=1
	@$(BIN)/python -m benchmarks.install
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

bench-scale: venv ## measure with as many sessions as descriptors allow: QUICK=1
	$(BIN)/python -m benchmarks scale $(if $(QUICK),--quick)

bench-compare: venv ## measure against an older revision: REV=...
	$(BIN)/python -m benchmarks.compare $(REV)

clean: ## remove what the targets above made
	rm -rf $(VENV) $(VENV)-* _trial_temp* build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
