import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from infra import bundle
from infra.bundle import BundleError, build, extract
from infra.topology import Topology, load

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def topology() -> Topology:
    return load(DATA / "topology.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with everything that must and must not be in a bundle."""
    root = tmp_path / "root"
    shutil.copytree(DATA / "functions", root / "functions")
    shutil.copy(DATA / "requirements.txt", root)
    for name in (
        "functions/__init__.py",
        "functions/echo/__pycache__/main.cpython-311.pyc",
        "functions/other/main.py",
        "shared/engine/execute.py",
        "shared/__pycache__/x.pyc",
        "configs/gcp/cost/cost_billing.yml",
        "schemas/tenants/profiles.json",
        "tests/unit/test_x.py",
        "infra/topology.yaml",
        "pyproject.toml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("# ä\n", encoding="utf-8")
    return root


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_a_bundle_holds_what_a_function_runs_on_and_nothing_else(
    tmp_path: Path, topology: Topology, root: Path
) -> None:
    built = build("echo", topology, tmp_path / "dist", root=root)
    assert names_in(built.path) == [
        "configs/gcp/cost/cost_billing.yml",
        "functions/__init__.py",
        "functions/echo/main.py",
        "main.py",
        "requirements.txt",
        "schemas/tenants/profiles.json",
        "shared/engine/execute.py",
    ]
    with zipfile.ZipFile(built.path) as archive:
        assert archive.read("main.py") == b"from functions.echo.main import echo as echo\n"


def test_a_bundle_holds_the_folders_that_its_function_includes(
    tmp_path: Path, topology: Topology, root: Path
) -> None:
    echo = topology.functions["echo"].model_copy(update={"includes": ["other"]})
    including = topology.model_copy(update={"functions": {"echo": echo}})
    built = build("echo", including, tmp_path / "dist", root=root)
    assert {"functions/echo/main.py", "functions/other/main.py"} <= set(names_in(built.path))
    (root / "functions/other/main.py").unlink()
    with pytest.raises(BundleError, match=r"functions/other/main\.py is missing"):
        build("echo", including, tmp_path / "dist", root=root)


def test_the_same_tree_gives_the_same_bytes_whenever_and_wherever(
    tmp_path: Path, topology: Topology, root: Path
) -> None:
    first = build("echo", topology, tmp_path / "a", root=root)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    for file in copy.rglob("*"):
        if file.is_file():
            file.chmod(0o755)
            later = time.time() + 86400
            os.utime(file, (later, later))
    second = build("echo", topology, tmp_path / "b", root=copy)
    assert second.path.read_bytes() == first.path.read_bytes()
    assert second.path.name == first.path.name == f"echo-{first.sha256[:12]}.zip"


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("shared/engine/execute.py", False),
        ("configs/gcp/cost/cost_billing.yml", False),
        ("requirements.txt", False),
        ("tests/unit/test_x.py", True),
        ("functions/other/main.py", True),
        ("pyproject.toml", True),
    ],
)
def test_the_name_changes_with_the_contents_only(
    tmp_path: Path, topology: Topology, root: Path, file: str, same: bool
) -> None:
    before = build("echo", topology, tmp_path, root=root)
    (root / file).write_text("# changed\n")
    after = build("echo", topology, tmp_path, root=root)
    assert (after == before) is same


def test_functions_of_one_source_share_a_bundle(tmp_path: Path) -> None:
    topology = load()
    repository = bundle.ROOT
    built = {build(n, topology, tmp_path, root=repository) for n in ("step-gcp", "step-shared")}
    assert len(built) == 1


def test_an_extracted_bundle_is_compiled_and_runs(
    tmp_path: Path, topology: Topology, root: Path
) -> None:
    folder = extract(build("echo", topology, tmp_path, root=root), tmp_path / "unpacked")
    for source in folder.rglob("*.py"):
        assert Path(importlib.util.cache_from_source(str(source))).is_file()
    code = "import main; print(main.echo.__code__.co_filename)"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == str(folder / "functions" / "echo" / "main.py")


def test_an_extracted_bundle_is_used_again(tmp_path: Path, topology: Topology, root: Path) -> None:
    built = build("echo", topology, tmp_path, root=root)
    folder = extract(built, tmp_path / "unpacked")
    made = (folder / "main.py").stat().st_mtime_ns
    assert extract(built, tmp_path / "unpacked") == folder
    assert (folder / "main.py").stat().st_mtime_ns == made


def test_a_syntax_error_anywhere_refuses_the_bundle(
    tmp_path: Path, topology: Topology, root: Path
) -> None:
    (root / "shared/engine/execute.py").write_text("x = 1\ndef broken(:\n")
    built = build("echo", topology, tmp_path, root=root)
    with pytest.raises(BundleError, match=r"shared/engine/execute\.py:2: "):
        extract(built, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


@pytest.mark.parametrize("missing", ["functions/echo/main.py", "requirements.txt"])
def test_a_bundle_is_not_built_without_its_parts(
    tmp_path: Path, topology: Topology, root: Path, missing: str
) -> None:
    (root / missing).unlink()
    with pytest.raises(BundleError, match=f"{missing} is missing"):
        build("echo", topology, tmp_path, root=root)


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundle.main(["--out", str(tmp_path), "--function", "dead-letter"]) == 0
    name, path, digest = capsys.readouterr().out.split()
    assert name == "dead-letter"
    assert Path(path).is_file()
    assert digest.startswith(Path(path).stem.removeprefix("dead_letter-"))


def test_the_command_names_an_unknown_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle.main(["--out", str(tmp_path), "--function", "apj"]) == 1
    assert capsys.readouterr().err.startswith("no function is called 'apj'; there are: api, ")
