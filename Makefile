# The two commands: `make demo` learns a LIBERO task and judges it; `make test` passes the tests.
.PHONY: setup demo demo-mini test lint format
SHELL := bash
PYTHON_BIN := .venv/bin/python

setup:
	@bash launch/setup.sh

demo: setup
	$(PYTHON_BIN) -m launch.demo

demo-mini: setup
	$(PYTHON_BIN) -m launch.demo --mini

test: setup lint
	$(PYTHON_BIN) -m pytest -n 2 --dist loadfile

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
