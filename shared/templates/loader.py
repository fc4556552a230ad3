"""Templates found, read with what they extend, and compiled once per process."""

import re
import threading
from pathlib import Path

from shared.errors import NotFoundError
from shared.templates.compiled import CompiledTemplate
from shared.templates.compiler import compile_template
from shared.templates.document import Mapping, Scalar, read
from shared.templates.inheritance import merge
from shared.templates.problems import Problems, Source, suggestion

SUFFIX = ".yml"
MAX_BYTES = 512 * 1024
"""Largest template file that is read."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


class TemplateLibrary:
    """The templates below one folder, `{provider}/{domain}/{template_name}.yml`.

    May be used from any number of threads: a template is compiled by one of them, the others wait.
    One that is broken is compiled again each time it is asked for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._compiled: dict[str, CompiledTemplate] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, provider: str, domain: str, template_name: str) -> CompiledTemplate:
        """The compiled template; `domain` is empty for one directly below its provider.

        Raises:
            NotFoundError: provider, domain or template does not exist; lists near names.
            TemplateError: the template is broken; names every fault with its place.
        """
        path = "/".join((provider, domain, template_name) if domain else (provider, template_name))
        return self._compiled.get(path) or self._compile_once(
            path, (provider, domain, template_name)
        )

    def named(self, path: str) -> CompiledTemplate:
        """As `get`, by `gcp/cost/cost_billing` or `customer/onboarding`."""
        parts = path.split("/")
        if len(parts) not in {2, 3}:
            raise NotFoundError("Template", path, known=self.names())
        return self.get(parts[0], parts[1] if len(parts) == 3 else "", parts[-1])

    def names(self) -> list[str]:
        """The paths of all templates, `gcp/cost/cost_billing`, sorted."""
        paths = (path.relative_to(self.root) for path in self.root.rglob(f"*{SUFFIX}"))
        return sorted(
            path.with_suffix("").as_posix() for path in paths if len(path.parts) in {2, 3}
        )

    def display(self, path: str) -> str:
        """The file of a template as problems name it: `configs/gcp/cost/cost_billing.yml`."""
        return f"{self.root.name}/{path}{SUFFIX}"

    def _compile_once(self, path: str, parts: tuple[str, str, str]) -> CompiledTemplate:
        self._check_exists(*parts)
        with self._lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            if path not in self._compiled:
                document = self._document(path, Problems(), ())
                self._compiled[path] = compile_template(document, *parts, file=self.display(path))
            return self._compiled[path]

    def _check_exists(self, provider: str, domain: str, template_name: str) -> None:
        folder = self.root
        for kind, name in (("Provider", provider), ("Domain", domain)):
            if name:
                if not _NAME.fullmatch(name) or not (folder / name).is_dir():
                    known = [path.name for path in folder.iterdir() if path.is_dir()]
                    raise NotFoundError(kind, name, known=sorted(known))
                folder = folder / name
        if (
            not _NAME.fullmatch(template_name)
            or not (folder / f"{template_name}{SUFFIX}").is_file()
        ):
            known = [path.stem for path in folder.glob(f"*{SUFFIX}")]
            raise NotFoundError("Template", template_name, known=sorted(known))

    def _document(self, path: str, problems: Problems, children: tuple[str, ...]) -> Mapping:
        """The template's document with its parents merged in.

        Raises:
            TemplateError: it cannot be read, or what it extends does not exist or leads back to it.
        """
        document = self._read(path, problems)
        parent = document.values.get("extends")
        if not isinstance(parent, Scalar) or not isinstance(parent.value, str):
            return document
        line = (*children, path)
        if parent.value in line:
            circle = " → ".join([*line[line.index(parent.value) :], parent.value])
            problems.add(parent.place, f"templates extend each other in a circle: {circle}")
        elif parent.value not in self.names():
            known = [name for name in self.names() if name != path]
            hint = suggestion(parent.value, known) or f"; known: {', '.join(known)}"
            problems.add(parent.place, f"extends: unknown template {parent.value!r}{hint}")
        else:
            return merge(self._document(parent.value, problems, line), document)
        problems.raise_if_any()
        return document

    def _read(self, path: str, problems: Problems) -> Mapping:
        file = self.root / f"{path}{SUFFIX}"
        content = file.read_bytes()
        source = Source(self.display(path), content.decode("utf-8", "replace"))
        document = None
        if len(content) > MAX_BYTES:
            problems.add(source.place(0), f"has {len(content)} bytes; {MAX_BYTES} is the limit")
        elif "\ufffd" in source.text:
            at = source.text.index("\ufffd")
            problems.add(source.place(at), "not UTF-8 here; save the file as UTF-8")
        else:
            document = read(source, problems)
        problems.raise_if_any()
        assert document is not None  # noqa: S101 - without a problem there is a document
        return document
