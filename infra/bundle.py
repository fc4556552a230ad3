"""Bundles: what a function's deployment uploads, and what the local cloud runs.

`python -m infra.bundle [--function api] --out dist` writes one zip a source. Its name holds a hash
of its contents, so an unchanged function keeps its name and is not deployed again; functions of one
source and entry point share one bundle.
"""

import argparse
import compileall
import hashlib
import py_compile
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import topology
from infra.topology import Topology, TopologyError

ROOT = Path(__file__).resolve().parents[1]

# The earliest time a zip can hold: a bundle does not depend on when it was built.
_TIME = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = {"__pycache__", ".DS_Store"}


class BundleError(Exception):
    """A bundle cannot be built or used; one line."""


@dataclass(frozen=True)
class Bundle:
    """A zip on disk and the hash of its contents (not of its compression)."""

    path: Path
    sha256: str


def build(function: str, deployed: Topology, out_dir: Path, *, root: Path = ROOT) -> Bundle:
    """Write the bundle of `function` out of the tree at `root`; the same tree gives the same bytes.

    Raises:
        BundleError: the function, its source or `requirements.txt` is missing.
    """
    if function not in deployed.functions:
        known = ", ".join(sorted(deployed.functions))
        raise BundleError(f"no function is called {function!r}; there are: {known}")
    entry = deployed.functions[function]
    name = entry.entry_point
    contents = {"main.py": f"from {entry.source} import {name} as {name}\n".encode()}
    for file in _files(root, entry.folder, entry.includes):
        contents[file.relative_to(root).as_posix()] = file.read_bytes()
    digest = _digest(contents)
    path = out_dir / f"{entry.folder}-{digest[:12]}.zip"
    if not path.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        _write(path, contents)
    return Bundle(path, digest)


def extract(bundle: Bundle, directory: Path) -> Path:
    """Unpack below `directory` and byte-compile, as the buildpack does; the folder to run from.

    A folder that is there already is used as it is.

    Raises:
        BundleError: a file does not compile; names it and the line.
    """
    target = directory / bundle.path.stem
    if target.exists():
        return target
    directory.mkdir(parents=True, exist_ok=True)
    unpacked = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=directory))
    try:
        with zipfile.ZipFile(bundle.path) as archive:
            archive.extractall(unpacked)
        _compile(unpacked, bundle, target)
        unpacked.rename(target)
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    return target


def _compile(unpacked: Path, bundle: Bundle, target: Path) -> None:
    """Tracebacks name `target`, where the folder is going to be."""
    compiled = compileall.compile_dir(
        unpacked,
        quiet=2,
        stripdir=str(unpacked),
        prependdir=str(target),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise BundleError(f"{bundle.path.name}: {_first_syntax_error(unpacked)}")


def _files(root: Path, folder: str, includes: Sequence[str]) -> Iterator[Path]:
    mains = [root / "functions" / name / "main.py" for name in (folder, *includes)]
    requirements = root / "requirements.txt"
    for file in (*mains, requirements):
        if not file.is_file():
            raise BundleError(f"{file} is missing: a bundle cannot be built without it")
    yield requirements
    package = root / "functions" / "__init__.py"
    if package.is_file():
        yield package
    for place in (
        *(main.parent for main in mains),
        *(root / name for name in ("shared", "configs", "schemas")),
    ):
        for file in place.rglob("*"):
            if file.is_file() and file.suffix != ".pyc" and not _LEFT_OUT.intersection(file.parts):
                yield file


def _digest(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _write(path: Path, contents: dict[str, bytes]) -> None:
    with (
        tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part,
        zipfile.ZipFile(part, "w") as archive,
    ):
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=6)
    Path(part.name).chmod(0o644)
    Path(part.name).replace(path)


def _first_syntax_error(directory: Path) -> str:
    for file in sorted(directory.rglob("*.py")):
        try:
            compile(file.read_bytes(), str(file.relative_to(directory)), "exec")
        except SyntaxError as error:
            return f"{error.filename}:{error.lineno}: {error.msg}"
    return "a file does not compile"


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 after one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle", description=__doc__)
    parser.add_argument("--function", help="one function of the topology; default: all of them")
    parser.add_argument("--topology", type=Path, default=topology.DEFAULT_PATH)
    parser.add_argument("--out", type=Path, required=True, help="folder for the zips")
    options = parser.parse_args(arguments)
    try:
        deployed = topology.load(options.topology)
        for name in [options.function] if options.function else sorted(deployed.functions):
            bundle = build(name, deployed, options.out)
            print(f"{name:15} {bundle.path} {bundle.sha256}")
    except (BundleError, TopologyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
