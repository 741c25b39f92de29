"""The shape of the repository: one-way imports, small files, commands with --help."""

import ast
import graphlib
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("crnet_tf", "pipelines", "export")
MAX_LINES, MAX_BYTES = 300, 1_000_000
OF_TENSORFLOW = {"ml_dtypes", "google"}  # its numbers and messages, in the versions it wants

# The floors of each package, from the ground up: a room imports only rooms below it.
FLOORS = {
    "crnet_tf": (
        "common", "config options", "images", "annotations", "data", "network", "fewshot",
        "evaluation", "reporting", "training", "paper",
        "calibrate compact evaluate heads predict report reproduce train train_jax",
    ),
    "pipelines": (
        "writing", "sources", "downloading", "checking",
        "build_coco build_demo build_episodes build_folder build_fss1000 build_voc download "
        "pack_photos show verify",
    ),
    "export": ("graph", "package", "server client", "onnx saved_model serve teach tflite"),
}  # fmt: skip
FLOOR = {
    (package, room): number
    for package, floors in FLOORS.items()
    for number, rooms in enumerate(floors)
    for room in rooms.split()
}

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}
COMMANDS = [
    name
    for name, path in MODULES.items()
    if re.search(r"^if __name__ == .__main__.:", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def imported(path):
    """Modules of this repository that a file imports, anywhere in it."""
    return imported_names(path) & MODULES.keys()


def imported_names(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative to the file's package
                package = path.relative_to(ROOT).parent.parts
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return names


def tracked_files():
    command = ["git", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("no git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_rooms_import_only_rooms_below_them():
    for name, path in MODULES.items():
        package, _, rest = name.partition(".")
        room = rest.split(".")[0]
        if not room:
            continue  # the front door
        assert (package, room) in FLOOR, f"{name} is new: give it a floor in FLOORS"
        for target in imported(path) - set(PACKAGES):
            other, _, rest = target.partition(".")
            below = rest.split(".")[0]
            if other != package:
                assert other == "crnet_tf", f"{name} must not import {target}"
            elif below != room:
                assert FLOOR[package, below] < FLOOR[package, room], (
                    f"{name}: {target} is above"
                )


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


def test_no_large_file_but_the_start_model_is_committed():
    large = [path for path in tracked_files() if path.stat().st_size > MAX_BYTES]
    assert large == [ROOT / "crnet_tf" / "start.keras"]


# Every process would spend seconds on imports; forks of one share them.
ASK_FOR_HELP = """
import contextlib, importlib, os, runpy, sys, traceback
shared, commands = (names.split(",") for names in sys.argv[1:])
for name in shared:
    with contextlib.suppress(ImportError):  # of a package that is not installed here
        importlib.import_module(name)
for name in commands:
    print("\\0" + name, flush=True)
    child = os.fork()
    if not child:
        sys.argv = [name, "--help"]
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)  # at once: TensorFlow takes a second to end
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def helps():
    """What every command prints when asked for --help: {module: output}."""
    shared = [name for name in MODULES if name not in COMMANDS]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run(
        [sys.executable, "-c", ASK_FOR_HELP, ",".join(shared), ",".join(COMMANDS)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    answers = answer.stdout.split("\0")[1:]
    return dict(text.split("\n", 1) for text in answers)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_explains_itself(name, helps):
    assert "Traceback" not in helps[name], helps[name]
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    assert docstring.splitlines()[0] in helps[name]
    command = f"python -m {name.removesuffix('.__main__')}"
    assert "\n  --" in helps[name] and command in helps[name]
