# Each target makes .venv itself; the stamp file makes the second time quick.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: demo test lint format wheel-test clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/autointerp demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The built wheel in an empty environment outside the checkout, and the demo from there.
wheel-test: $(STAMP)
	sh tests/wheel_in_an_empty_environment.sh $(BIN)/python constraints.txt

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
