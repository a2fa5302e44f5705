# Everything a new checkout needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# pip's own find-links (a folder of wheels) is honoured where one is configured
LINKS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

.PHONY: setup demo test test-slow lint types contracts docs doctest notebooks reproduce bench browser check clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --python $(BIN)/python $(addprefix --find-links ,$(LINKS)) --constraint constraints.txt --editable ".[test,docs]"
	touch $@

demo: setup
	$(BIN)/python -m hybrid_attention.demo

test: setup
	$(BIN)/python -m pytest -n 2

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/sphinx-build -W --keep-going -E -q -b html docs docs/_build/html

doctest: setup
	$(BIN)/sphinx-build -W --keep-going -E -q -b doctest docs docs/_build/doctest

notebooks: setup
	$(BIN)/python -m pytest --nbmake --override-ini addopts= notebooks

# a small version of the ablation behind the results page; about ten minutes on two cores
reproduce: setup
	$(BIN)/hybrid-attention ablate --tasks text,brackets --lengths 8 --arms softmax+bias,sigmoid+bias,position+bias \
		--steps 300 --seeds 3 --cpu-minutes 15 --out ablations/reproduce $(if $(wildcard ablations/reproduce/ablation.toml),--resume)

bench: setup
	$(BIN)/python -m benchmarks

check: test lint types contracts docs doctest notebooks test-slow

# the browser that tests of reports drive; they skip, by name, where there is none
browser:
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
		(apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium)

clean:
	rm -rf $(VENV) docs/_build build dist
