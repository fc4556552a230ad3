"""What a function of the product can reach, read from its source, down to Google's clients.

Nodes are top-level symbols of modules (a class is one, and so is each `Class.method`); edges are
the names that a symbol's code uses, imports inside functions included. Annotations are no use. The
processors' registry is the one place where names are text: who asks gives the processors that a
function runs.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENTS = "shared.clients"
# A name that ends like one of these gives such a client: `bulk_publisher_client` a publisher.
KINDS = ("bigquery_client", "kms_client", "publisher_client", "secret_manager_client")

Symbol = tuple[str, str]


@dataclass(frozen=True)
class Module:
    """A module's symbols, and what the names at its top mean."""

    name: str
    symbols: dict[str, list[ast.stmt]]
    imported: dict[str, str]


def reached(roots: Iterable[Symbol], *, described: Iterable[str] = ()) -> set[Symbol]:
    """Every symbol that the code of `roots` can come to, the roots included.

    Packages that are only `described` (their routes in a document) are not entered.
    """
    closed = tuple(f"{package}." for package in described)
    found: set[Symbol] = set()
    waiting = list(roots)
    while waiting:
        symbol = waiting.pop()
        if symbol not in found and not f"{symbol[0]}.".startswith(closed or ("\0",)):
            found.add(symbol)
            waiting.extend(_uses(symbol))
    return found


def calls(symbols: Iterable[Symbol]) -> set[tuple[str, str]]:
    """(`kms_client`, `encrypt`) of every method that the symbols call on a client of Google's."""
    return {
        found
        for module, symbol in symbols
        if module != CLIENTS
        for statement in _module(module).symbols.get(symbol, ())
        for found in _client_calls(statement)
    }


def mentions(symbols: Iterable[Symbol]) -> set[str]:
    """Attributes and texts that the symbols' code has: names of settings, topics."""
    found = set()
    for module, symbol in symbols:
        for statement in _module(module).symbols.get(symbol, ()):
            for node in _code(statement):
                if isinstance(node, ast.Attribute):
                    found.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def callers(path: str) -> set[Symbol]:
    """Every symbol of the product whose code uses `path`, such as `registry.load`."""
    files = [file for top in ("shared", "functions") for file in (ROOT / top).rglob("*.py")]
    names = [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return {
        (module.name, symbol)
        for module in map(_module, (name.removesuffix(".__init__") for name in names))
        for symbol, statements in module.symbols.items()
        if "." not in symbol
        if any(path.split(".") in _paths(statement) for statement in statements)
    }


def processor(ps_type: str, method: str = "") -> Symbol:
    """The class that the registry names, or one method of it."""
    (node,) = _module("shared.processors.registry").symbols["PROCESSORS"]
    assert isinstance(node, ast.AnnAssign)
    assert node.value
    module, _, name = ast.literal_eval(node.value)[ps_type].partition(":")
    return module, f"{name}.{method}" if method else name


def _uses(symbol: Symbol) -> Iterator[Symbol]:
    module = _module(symbol[0])
    yield module.name, ""  # what runs when the module is imported
    for statement in module.symbols.get(symbol[1], ()):
        imported = {**module.imported, **_imports(statement)}
        for path in _paths(statement):
            base, *rest = path
            if base in imported:
                yield from _resolved(imported[base], rest)
            elif base in module.symbols:
                yield module.name, base


def _resolved(target: str, rest: list[str]) -> Iterator[Symbol]:
    """`shared.crypto` + [`seal`], or `shared.crypto.seal`: (`shared.crypto`, `seal`)."""
    parts = [*target.split("."), *rest]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if _file(name):
            yield name, parts[length] if length < len(parts) else ""
            return


def _paths(statement: ast.stmt) -> Iterator[list[str]]:
    """`a.b.c` and `a`, wherever the code (not an annotation) uses them."""
    for node in _code(statement):
        if isinstance(node, ast.Name):
            yield [node.id]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
            inner: ast.expr = node.value
            while isinstance(inner, ast.Attribute):
                names.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield [inner.id, *reversed(names)]


def _code(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)


def _client_calls(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Methods called on `kms_client()` and on names that such a call was assigned to."""
    names: dict[str, str] = {}
    for node in _code(statement):
        if isinstance(node, ast.Assign) and (client := _client(node.value)):
            names |= {t.id: client for t in node.targets if isinstance(t, ast.Name)}
    for node in _code(statement):
        if isinstance(node, ast.Attribute):
            client = _client(node.value)
            if not client and isinstance(node.value, ast.Name):
                client = names.get(node.value.id)
            if client:
                yield client, node.attr


def _client(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call):
        function = node.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        return next((kind for kind in KINDS if name.endswith(kind)), None)
    return None


@cache
def _module(name: str) -> Module:
    file = _file(name)
    assert file, f"{name} is no module of the product"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    symbols: dict[str, list[ast.stmt]] = {"": []}
    imported: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imported |= _imports(statement)
            continue
        if isinstance(statement, ast.If):  # TYPE_CHECKING: never runs
            continue
        for defined in _names(statement):
            symbols.setdefault(defined, []).append(statement)
        if isinstance(statement, ast.ClassDef):
            for method in statement.body:
                if isinstance(method, ast.FunctionDef):
                    symbols[f"{statement.name}.{method.name}"] = [method]
    return Module(name, symbols, imported)


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    named = [target.id for target in targets if isinstance(target, ast.Name)]
    return named or [""]


def _imports(statement: ast.stmt) -> dict[str, str]:
    found = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                found[name] = alias.name if alias.asname else name
    return found


@cache
def _file(name: str) -> Path | None:
    """The source of a module of the product; None for anything else."""
    if name.partition(".")[0] not in ("shared", "functions"):
        return None
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def untraced(source: str) -> list[str]:
    """Uses of a client that `calls` would not see: what is left are calls of methods on it.

    A client is made by `kms_client()`, used as `kms_client().encrypt`, or given a name whose every
    use is `name.encrypt`. It is not passed on, returned, kept, renamed or asked with `getattr`.
    """
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.asname and node.name.endswith((*KINDS, "Client")):
            found.append(f"line {node.lineno}: {node.name} is renamed")
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
        if name.endswith(KINDS):
            call = parents[node]
            if not (isinstance(call, ast.Call) and call.func is node):
                found.append(f"line {node.lineno}: {name} is not called at once")
            elif problem := _untraced_use(call, parents):
                found.append(f"line {node.lineno}: {name}() {problem}")
    return found


def _untraced_use(call: ast.Call, parents: dict[ast.AST, ast.AST]) -> str | None:
    use = parents[call]
    if isinstance(use, ast.Attribute):
        return None
    if not (isinstance(use, ast.Assign) and all(isinstance(t, ast.Name) for t in use.targets)):
        return "is neither given a name nor called a method of"
    names = {target.id for target in use.targets if isinstance(target, ast.Name)}
    scope: ast.AST = use
    while scope in parents and not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        scope = parents[scope]
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        return "is kept in a module or class"
    for node in ast.walk(scope):
        known = isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load)
        if known and not isinstance(parents[node], ast.Attribute):
            return "is passed on under its name"
    return None
