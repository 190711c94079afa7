.PHONY: venv demo test lint
VENV := .venv
PYTHON ?= python3

# Set on some machines; without compiled modules every start of gzl compiles them anew.
unexport PYTHONDONTWRITEBYTECODE

venv: $(VENV)/ok

# The lock holds exact versions and hashes of all that is installed; gzl itself comes last, from this folder.
$(VENV)/ok: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV) || { apt-get update -q && apt-get install -q -y python3-venv && $(PYTHON) -m venv $(VENV); }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: lint
	tests/services
	$(VENV)/bin/python -m pytest -n 4 --dist worksteal

demo: venv
	@command -v cc >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; }
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" share/demo/demo.sh
