"""The shape of the repository: one-way imports, small files, commands with --help."""

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys

import pytest

from tools.floors import FLOORS, ROOT, floor_of, imported_names, sources

PACKAGES = tuple(FLOORS)
MAX_LINES, MAX_BYTES = 300, 1_000_000
OF_TENSORFLOW = {"ml_dtypes", "google"}  # its numbers and messages, in the versions it wants

MODULES = sources()
SOURCES = sorted(MODULES.values())
COMMANDS = [
    name
    for name, path in MODULES.items()
    if re.search(r"^if __name__ == .__main__.:", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def imported(path):
    """Modules of this repository that a file imports, anywhere in it."""
    return imported_names(path) & MODULES.keys()


def tracked_files():
    command = ["git", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("no git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_rooms_import_only_rooms_below_them():
    for name, path in MODULES.items():
        if name in PACKAGES:
            continue  # the front door
        assert floor_of(name), f"{name} is new: give it a floor in tools/floors.py"
        package, floor = floor_of(name)
        for target in imported(path) - set(PACKAGES):
            other, below = floor_of(target)
            if other != package:
                assert other == "crnet_tf", f"{name} must not import {target}"
            elif target.split(".")[1] != name.split(".")[1]:
                assert below < floor, f"{name}: {target} is not below it"


def test_imports_have_no_cycle():
    # `from crnet_tf import x` also names the package, whose __init__ gathers public names.
    graph = {name: imported(path) - set(PACKAGES) - {name} for name, path in MODULES.items()}
    for package in PACKAGES:
        graph.pop(package, None)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_pipelines_and_export_do_not_need_each_other():
    for name, path in MODULES.items():
        other = {"pipelines": "export", "export": "pipelines"}.get(name.split(".")[0])
        assert not any(target.split(".")[0] == other for target in imported(path)), name


def test_packages_that_are_imported_are_declared():
    """And do not come along by way of another."""
    files = [ROOT / "setup.py", *ROOT.glob("requirements*.txt")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    declared = set(re.findall(r"[\w-]+(?=[=<>\[])", text.lower().replace("_", "-")))
    installed = importlib.metadata.packages_distributions()
    names = {name.split(".")[0] for path in SOURCES for name in imported_names(path)}
    for name in names - set(PACKAGES) - OF_TENSORFLOW:
        owners = {owner.lower().replace("_", "-") for owner in installed.get(name, [])}
        assert not owners or owners & declared, f"{name}: add one of {owners} to requirements"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


# Public in spite of their names, or of this project and meant for its own file.
UNDERSCORED = {"_replace", "_asdict", "_fields", "_exit"}


def test_no_private_attribute_of_another_project_is_used():
    """What begins with an underscore is used only in the file that defines it, or by way of
    `self`; subclasses of Keras' classes set none, which might be Keras' own."""
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
    defined = {name: UNDERSCORED | names_defined(tree) for name, tree in trees.items()}
    anywhere = set().union(*defined.values())
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
                known = anywhere if ast.unparse(node.value) == "self" else defined[name]
                place = f"{name}, line {node.lineno}: {ast.unparse(node)}"
                assert node.attr in known, f"{place} is private: use what is public"


def names_defined(tree):
    """Functions, classes, variables, and attributes that classes of ours are given."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.ClassDef) and not any(
            "keras." in ast.unparse(base) for base in node.bases
        ):
            inside = [a for a in ast.walk(node) if isinstance(a, ast.Attribute)]
            names |= {a.attr for a in inside if isinstance(a.ctx, ast.Store)}
    return names


def test_no_large_file_but_the_start_model_is_committed():
    large = [path for path in tracked_files() if path.stat().st_size > MAX_BYTES]
    assert large == [ROOT / "crnet_tf" / "start.keras"]


# What every command does before it has read its flags must be quick.
ASK_FOR_HELP = """
import runpy, sys
name, sys.argv = sys.argv[1], [sys.argv[1], "--help"]
runpy.run_module(name, run_name="__main__", alter_sys=True)
slow = {"tensorflow", "keras", "jax", "matplotlib", "scipy", "grpc"} & {*sys.modules}
assert not slow, f"{slow} are imported before the flags are read"
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_explains_itself_at_once(name):
    asking = [sys.executable, "-c", ASK_FOR_HELP, name]
    answer = subprocess.run(asking, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0 and not answer.stderr, answer.stderr
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    assert answer.stdout.startswith(docstring.splitlines()[0])
    command = f"python -m {name.removesuffix('.__main__')}"
    if name != "crnet.__main__":  # whose flags are those of other commands
        assert "\n  --" in answer.stdout and f"{command} --" in answer.stdout
