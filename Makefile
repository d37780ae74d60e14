# A thin front of `python3 -m normcourse`; where make is not, type that (CONTRIBUTING.md).
PYTHON ?= python3
export PORT LIGHT ONLY TORCH_INDEX

WORDS := course book test lint exercises setup clean

.DEFAULT_GOAL := help
.PHONY: help check-python $(WORDS)

help:
	@echo "make course     set up what is missing, build the book, serve it on this machine"
	@echo "make book       the same without serving"
	@echo "make test       everything that .ci/run runs"
	@echo "make lint       ruff, format, stripped notebooks, generated files"
	@echo "make exercises  write the learner's notebooks and the package data from the solutions"
	@echo "make setup      only the environment (.venv)"
	@echo "make clean      remove what was built; the environment and your progress stay"
	@echo
	@echo "Settings:  PYTHON=python3.12     the Python to start from (3.11 or newer)"
	@echo "           PORT=8080             where to serve (8000)"
	@echo "           LIGHT=1               without PyTorch: text and NumPy exercises, no outputs"
	@echo "           ONLY=units,doctests   some stages of make test"
	@echo "           TORCH_INDEX=URL       one more place to look for PyTorch; its builds for CPU"
	@echo "                                 are at https://download.pytorch.org/whl/cpu"

$(WORDS): check-python
	@$(PYTHON) -m normcourse $@

check-python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "There is no $(PYTHON) here. The course needs Python 3.11 or newer; name one:" \
	       "make course PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The course needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." \
	       "Name a newer one: make course PYTHON=python3.12" >&2; exit 1; }
