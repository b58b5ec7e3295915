# Two commands: `make run` opens the studio, `make test` checks everything. Both are safe to repeat, and quick the second time.
SHELL := /bin/bash
.DEFAULT_GOAL := run

# The first Python at hand that is new enough, unless PYTHON says which.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
PY := .venv/bin/python
PORT ?= 8501
URL := http://127.0.0.1:$(PORT)

# Where there is a desktop, open a browser once the studio answers. Best effort: never in the way, never a failure.
OPEN_BROWSER = if [ "$$(uname)" = Darwin ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	for _ in $$(seq 100); do $(PY) -c "import urllib.request as u; u.urlopen('$(URL)/_stcore/health', timeout=1)" && break; sleep 0.2; done; \
	$(PY) -m webbrowser $(URL); fi

.PHONY: run install test check unit e2e browser bench clean

## run: install what is missing, print the address, start the studio (PORT=8501)
run: install
	@echo "Graft is at $(URL)   (stop it with Ctrl+C)"
	@$(OPEN_BROWSER) >/dev/null 2>&1 & exec $(PY) -m streamlit run app.py --server.port $(PORT)

install: .venv/installed

.venv/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "Graft needs Python 3.11 or newer, and found none. Install it from python.org, or say where it is: make run PYTHON=/path/to/python3"; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "Installing Graft's requirements (the first time takes some minutes)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements.txt
	@test -n "$(PYTHON)" || { echo "Graft needs Python 3.11 or newer, and found none. Install it from python.org, or say where it is: make test PYTHON=/path/to/python3"; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "Installing what the tests need (the first time takes some minutes)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/installed

# A browser for tests/e2e: by apt where that is possible without asking anything. Without one those tests skip and say so; with CI set they fail.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing chromium for the browser tests"; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || echo "chromium could not be installed"; \
		fi; } || true

## check: format, lint, types
check: .venv/installed-dev
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

## test: everything
test: .venv/installed-dev browser check
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $${WORKERS:-2} --dist loadfile --no-loadscope-reorder --durations=30

## unit: the tests that need no browser
unit: .venv/installed-dev
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $${WORKERS:-2} --dist loadfile --no-loadscope-reorder --ignore tests/e2e

## e2e: the browser tests (GRAFT_SCREENSHOTS=1 keeps every screen in tests/e2e/screenshots: light, dark, phone)
e2e: .venv/installed-dev browser
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/e2e

## bench: what the README quotes, one script a bar (minutes each, on an idle machine)
bench: .venv/installed-dev
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PY) -m "benchmarks.$$(basename $$script .py)" || exit 1; done

clean:
	@rm -rf .pytest_cache .ruff_cache .mypy_cache tests/e2e/screenshots tests/e2e/traces
