PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8000
BACKEND ?= embedded
BIN = .venv/bin
COMPILE = CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
export PYTHONDONTWRITEBYTECODE =

.PHONY: help run test demo bench lint messages settings lock

help:            ## list the commands
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

run: .venv/runtime  ## serve the demo company on 127.0.0.1:$PORT (PORT=8000)
	@$(BIN)/python -m portal.simulator.demo serve $(PORT)

demo: .venv/runtime  ## walk one employee through the journey and enroll a simulated iPhone (BACKEND=embedded, nanomdm or maas360)
	@$(BIN)/python -m portal.simulator.demo walk $(BACKEND)

test: .venv/develop  ## the whole suite
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: .venv/develop  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/develop  ## how fast it is, beside the floor of the same machine
	for part in bench bench.statements bench.request_list bench.policies bench.apps bench.delegated; do $(BIN)/python -m tests.$$part || exit 1; done

messages: .venv/develop  ## take new texts into the catalogues and compile them
	$(BIN)/pybabel -q extract -F config/babel.cfg --omit-header --no-location -o portal/translations/messages.pot .
	$(BIN)/pybabel -q update -i portal/translations/messages.pot -d portal/translations --ignore-pot-creation-date --no-fuzzy-matching
	$(BIN)/pybabel -q compile --statistics -d portal/translations

settings: .venv/runtime  ## bring the tables in docs/settings.md and docs/backends.md up to date with what they are made from
	$(BIN)/python -m portal.settings.document
	$(BIN)/python -m portal.backends.maas360.document

lock:            ## compile the requirements with the hashes of every package, after a change in config/*.in
	$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	for name in requirements requirements-dev; do $(COMPILE) -o $$name.txt config/$$name.in; done

.venv/runtime: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/develop: .venv/runtime requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
