# Every target sets up what it needs in .venv; only Python 3.11+, make and git are required.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := $(shell find models datasets strategies benchmark reports -type d -not -name __pycache__)
READY := $(VENV)/.ready

.PHONY: help demo test test-plain bench soak fuzz lint check slow clean

help:
	@echo "make demo    train three strategies on built-in synthetic images and print their leaderboard"
	@echo "make test    run the tests"
	@echo "make bench   measure speed against goals, print the table and put it into docs/performance.md (25 minutes)"
	@echo "make lint    lint, format, import contracts, types"
	@echo "make check   lint and test"
	@echo "make soak    kill runs at random moments, and --force, migrate and publish at every step (minutes)"
	@echo "make fuzz    try 20,000 mutated inputs and command lines (minutes)"
	@echo "make slow    run the tests that take minutes"

# The folders are prerequisites, because a strict editable install links files one by one: a new file changes its
# folder's modification time, and has to be linked.
$(READY): pyproject.toml constraints.txt $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]" --config-settings editable_mode=strict
	@touch $(READY)

demo: $(READY)
	$(BIN)/stampbench run --strategy standard,stamp,stamp_plus --dataset phantom2d --n-train 25 --folds 0 --protocol quick --runs demo-runs
	$(BIN)/stampbench leaderboard --runs demo-runs
	@echo
	@echo "Each row is a record in demo-runs/. Next steps:"
	@echo "  $(BIN)/stampbench list strategies"
	@echo "  $(BIN)/stampbench run --strategy stamp_plus --dataset FOLDER --folds 0 --protocol quick   # your own images"
	@echo "  $(BIN)/stampbench run --help"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --ignore=tests/perf $(ARGS)

# The tests of everything that trains, with plain instead of fast kernels.
test-plain: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/benchmark/training tests/benchmark/execution/test_runner.py tests/strategies \
		--kernels plain $(ARGS)

bench: $(READY)
	$(BIN)/pytest tests/perf -m "slow or not slow" --benchmark-only --benchmark-quiet -p no:xdist \
		--write-table docs/performance.md $(ARGS)

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --ignore=tests/perf $(ARGS)

# Kill runs at random moments, twenty times for each kind of strategy; kill --force, migrate and publish before every
# step; check that whatever `submit check` accepts can be published.
soak: $(READY)
	SOAK_ROUNDS=20 OMP_NUM_THREADS=1 $(BIN)/pytest tests/benchmark/execution/test_soak.py \
		tests/benchmark/records -k "soak or killed or whatever_is_accepted" $(ARGS)

# Try mutated inputs of every kind; a failing example is printed with the decisions that made it.
fuzz: $(READY)
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-1650} OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/fuzz $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: lint test test-plain

clean:
	rm -rf $(VENV) build *.egg-info demo-runs
