# make help lists the targets. They need Python 3.11 or newer with its venv module; the tests also
# a C compiler, the headers of libcap and libarchive, for picamera2.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PLUGINS := -e 'plugins/picosam-gaze[lsl,mqtt,pupil-core,pupil-labs,plot]' -e 'plugins/picosam-mqtt[demo]' -e 'plugins/picosam-web[test]'

# uv installs in a quarter of pip's time, but does not read where pip has been told to find wheels;
# where it is not to be had, or fails, pip does it.
LINKS = $$($(BIN)/python -m pip config list | sed -n "s/.*find-links='\(.*\)'/\1/p" | sort -u | tr ' ' '\n' | paste -sd,)
install = { $(PIP) install uv && UV_FIND_LINKS="$(LINKS)" \
  $(BIN)/uv pip install -q --system-certs --python $(BIN)/python $(1); } || $(PIP) install $(1)

.DEFAULT_GOAL := help
.PHONY: help demo test stalls fuzz lint format clean imx500-tools imx500-test

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## segment the sample photos, then run the glasses; pictures go to out/demo
	@$(BIN)/picosam demo -o out/demo
	@echo; echo "Now the glasses: 12 s of a recording, in real time ..."
	@$(BIN)/python examples/gaze_glasses/app.py -o out/demo/glasses

# Two tests at a time, of which many wait for a clock or a peer; a file's tests stay together.
WORKERS ?= 2
test: lint ## lint, types, layers and all tests (WORKERS=n at a time, 2)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

stalls: $(VENV)/dev.stamp ## the tests with threads paused at random, which finds races (ARGS="--stalls all PATH...")
	@$(BIN)/python -m pytest -p tests.stalls -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/dev.stamp ## damaged input to everything that parses, SECONDS=60 each
	@$(BIN)/python scripts/fuzz.py --seconds $(or $(SECONDS),60) --jobs $(or $(JOBS),1)

lint: $(VENV)/dev.stamp ## ruff, mypy and the layers between modules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## format the code and apply ruff's safe fixes
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

imx500-tools: $(VENV)/core.stamp ## install Sony's converter into .venv-imx500 (2 GB, Java 17 needed)
	@$(BIN)/picosam imx500 setup --tools $(CURDIR)/.venv-imx500

imx500-test: $(VENV)/dev.stamp imx500-tools ## run Sony's real converter on the network
	@PICOSAM_IMX500_VENV=$(CURDIR)/.venv-imx500 $(BIN)/python -m pytest tests/export/test_imx500_convert.py -k sonys_tools

EVENTS ?= 10000
MINUTES ?= 60
.PHONY: faults soak
faults: $(VENV)/dev.stamp ## inject 10,000 faults into real pipelines (EVENTS=n for fewer)
	@$(BIN)/python scripts/faults.py --events $(EVENTS)

soak: $(VENV)/dev.stamp ## the same for an hour (MINUTES=n)
	@$(BIN)/python scripts/soak.py --minutes $(MINUTES)

.PHONY: bench
bench: $(VENV)/dev.stamp ## speed and memory against the limit and peers (ARGS="--data DIR --peers DIR")
	@$(BIN)/python benchmarks/run.py --json out/bench/report.json --markdown $(ARGS)

.PHONY: audit
audit: $(VENV)/dev.stamp ## known vulnerabilities of what an install resolves to
	@$(BIN)/python scripts/audit.py

clean: ## remove the environment, the caches and what was built
	@rm -rf $(VENV) .venv-imx500 dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "This needs Python 3.11 or newer; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo 'not there')." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/core.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing picosam-sdk into $(VENV) ..."
	@$(PIP) install -e .
	@touch $@

$(VENV)/demo.stamp: pyproject.toml $(wildcard plugins/*/pyproject.toml) | $(BIN)/python
	@echo "Installing picosam-sdk and its plugins for gaze and MQTT into $(VENV) ..."
	@$(PIP) install -e . -e 'plugins/picosam-gaze[plot]' -e 'plugins/picosam-mqtt[demo]'
	@touch $@ $(VENV)/core.stamp

# The tests run the camera class of picamera2, which pip builds against libcap and which loads
# libarchive; a real broker; and a real browser.
$(VENV)/system.stamp: | $(BIN)/python
	@missing=; [ -e /usr/include/sys/capability.h ] || missing=libcap-dev; \
	$(BIN)/python -c 'import ctypes.util as u, sys; sys.exit(not u.find_library("archive"))' || \
	  missing="$$missing libarchive-tools"; \
	PATH="$$PATH:/usr/sbin" command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  missing="$$missing chromium"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing $$missing with apt-get ..."; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then \
	  echo "The tests need system packages. On Debian or Ubuntu: sudo apt-get install $$missing" >&2; \
	  echo "Elsewhere: the headers of libcap (such as libcap-devel), libarchive, mosquitto, Chromium." >&2; exit 1; \
	fi
	@touch $@

$(VENV)/dev.stamp: pyproject.toml tests/constraints.txt $(wildcard plugins/*/pyproject.toml) | $(BIN)/python $(VENV)/system.stamp
	@echo "Installing picosam-sdk and the test tools into $(VENV) (a few minutes, once) ..."
	@$(call install,-e '.[dev]' $(PLUGINS) -c tests/constraints.txt)
	@touch $@ $(VENV)/core.stamp $(VENV)/demo.stamp
