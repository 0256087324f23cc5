"""The command `python3 -m ekiben worker module:function`, which is what `ekiben worker ...` runs."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from functools import reduce
from types import ModuleType

from . import worker
from .tasks import Task, find, registered


def main() -> None:
    """Runs the command."""
    arguments = _parse()
    worker.serves_elsewhere = True
    tasks = _tasks(arguments.target)
    worker.serves_elsewhere = False
    worker.serve_tasks(tasks, arguments.threads)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ekiben")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser("worker", help="serve tasks; started by Ekiben, as the command of an endpoint")
    serve.add_argument("target", help="module, module:function, path/to/file.py or path/to/file.py:function")
    serve.add_argument("--threads", type=int, metavar="N", help="how many attempts run at a time; by default as the endpoint says")
    return parser.parse_args()


def _tasks(target: str) -> list[Task]:
    where, _, name = target.partition(":")
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    if not name:
        return registered
    try:
        return [find(reduce(getattr, name.split("."), module))]  # type: ignore[arg-type]
    except AttributeError:
        sys.exit(f"ekiben: {where} has no function {name}")


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(name)


def _load_file(path: str) -> ModuleType:
    """Loads a file as the module of its name, with the files beside it in reach, as `python3 file.py` has them."""
    if not os.path.exists(path):
        sys.exit(f"ekiben: there is no file {path}")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.basename(path)[: -len(".py")]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
