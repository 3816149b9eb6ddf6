# Each target does its own set-up in .venv; a second run reuses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tests start hundreds of processes, which would compile the package anew each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-docs test-cluster test-thorough test-lowest test-newest-ray check docs build format clean
help:
	@echo "make demo    how many instances of MobileNetV2, each with how many threads; writes demo.html"
	@echo "make test    run the tests"
	@echo "make test-docs  every example, snippet, command and tutorial, and the built wheel"
	@echo "make test-cluster  the tests that kill the nodes of a cluster, and those with a server"
	@echo "make test-thorough  10,000 random searches instead of 1,000"
	@echo "make check   lint, formatting, types and the documentation's links; builds both packages into dist/"
	@echo "make docs    the documentation as a site, in site/"
	@echo "make format  let ruff rewrite the formatting"
	@echo "make test-lowest  the tests with the lowest supported versions"
	@echo "make test-newest-ray  the searcher's contract, with the newest Ray"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp per set of requirements: pip runs again only when pyproject.toml changes.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[report]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.demo $@

$(VENV)/.dev-cluster: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,dev-cluster]'
	@touch $(VENV)/.demo $(VENV)/.dev $@

demo: $(VENV)/.demo
	$(BIN)/kamerton-ray tune examples/mobilenet.py:build --instances auto --report demo.html

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup

test-docs: $(VENV)/.dev
	$(BIN)/python -m pytest -m docs --numprocesses 3 --dist loadgroup

test-cluster: $(VENV)/.dev-cluster
	$(BIN)/python -m pytest -m cluster
	$(BIN)/python -m pytest -m 'not cluster' -k serve tests/test_examples.py tests/test_deployments.py

test-thorough: $(VENV)/.dev
	EXAMPLES=10000 $(BIN)/python -m pytest tests/test_properties.py

test-lowest: tests/lowest.txt pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/lowest.txt --editable '.[dev]'
	.venv-lowest/bin/python -m pytest -m 'not cluster' --numprocesses 3 --dist loadgroup

# Release candidates, too; what it prints says which Ray it was.
test-newest-ray:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --pre 'ray[tune]'
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	.venv-newest/bin/python -c 'import ray; print("Ray", ray.__version__, ray.__commit__)'
	.venv-newest/bin/python -m pytest tests/test_searcher.py tests/test_tune.py

check: $(VENV)/.dev build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A link that leads nowhere fails; with --quiet it would not.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The wheel comes of the source distribution, so that this holds all that it needs.
build: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site
