# Nothing needs activating: every target runs in .venv, which is made once and again when the pins or the packaging change.
PYTHON ?= python3
# Where torch comes from: CPU builds; for a GPU: make install TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell grep '^torch==' constraints.txt)
# A file is one worker's, in the order of tests/conftest.py and not by the number of its tests.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Errors alone: indices of the machine's own configuration that lack a package are no news.
INSTALL := $(PIP) install --quiet --quiet

.PHONY: install demo test faults lint docs
.DEFAULT_GOAL := demo

install: $(STAMP)

# torch comes first, alone and from its own index: resolved with the rest, pip would fetch the several GB of a CUDA build,
# and an index that cannot be reached would be asked again for every dependency. pip is old enough to lack editable
# installs of a setup.cfg in the first releases of Python 3.10.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) 'pip>=21.3'
	@$(INSTALL) --retries 0 --timeout 15 --no-deps --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null \
		|| echo "no $(TORCH) from $(TORCH_INDEX): pip takes what its default index has, on Linux perhaps several GB for CUDA"
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	$(PIP) check
	touch $@

demo: $(STAMP)
	$(BIN)/python -m c2f_monai demo

# The site in build/site; index.html opens from the disk, served it has a search, too. Needs Python 3.11. The last line:
# no page loads anything from elsewhere.
docs: $(STAMP)
	$(INSTALL) --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 PYTHONWARNINGS=ignore $(BIN)/mkdocs build --strict --quiet
	@! grep -rlE --include='*.html' '(<script[^>]*src|<link[^>]*stylesheet[^>]*href|<img[^>]*src)="?https?:' build/site

# One thread for each worker: the tensors are small.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

# Minutes: faults are put into the product on purpose, and docs/results/faults.md says what it answered.
faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults

# The last line: inside the package imports are relative.
lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m mypy
	@! grep -rnE --include='*.py' '^ *(from|import) c2f_monai' c2f_monai
