"""What every registered processor owes: its name is its path, its outputs are declared.

That its example loads and its fields are described is held by test_templates.py.
"""

import ast
import inspect
from pathlib import Path

import pytest

from shared.models import Model
from shared.processors import drift_events, registry
from shared.processors.contract import Processor

FOLDER = Path(inspect.getfile(registry)).parent
PROCESSORS = sorted(registry.PROCESSORS)
IN_EVERY_RESULT = {"rows_processed", "bytes_processed", "status", "error"}
HOW_A_REPETITION_IS_HARMLESS = ("twice", "once", "repeat", "again")


@pytest.mark.parametrize("ps_type", PROCESSORS)
def test_ps_type_is_the_path_of_its_module_below_processors(ps_type: str) -> None:
    processor = registry.load(ps_type)

    assert processor.ps_type == ps_type
    assert type(processor).__module__ == f"shared.processors.{ps_type}"


def test_every_file_with_a_processor_is_registered() -> None:
    files = {
        ".".join(file.relative_to(FOLDER).with_suffix("").parts)
        for file in FOLDER.glob("*/*.py")
        if any(_is_processor(node) for node in ast.parse(file.read_text("utf-8")).body)
    }

    assert files == set(registry.PROCESSORS)


def _is_processor(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Subscript) and ast.unparse(base.value) == "Processor"
        for base in node.bases
    )


@pytest.mark.parametrize(("alias", "ps_type"), sorted(registry.ALIASES.items()))
def test_alias_means_a_registered_processor_and_hides_none(alias: str, ps_type: str) -> None:
    assert alias not in registry.PROCESSORS
    assert registry.canonical(alias) == ps_type
    assert type(registry.load(alias)) is type(registry.load(ps_type))


@pytest.mark.parametrize("ps_type", PROCESSORS)
def test_configuration_is_closed_and_frozen(ps_type: str) -> None:
    model = registry.load(ps_type).config_model

    assert issubclass(model, Model)
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"]


@pytest.mark.parametrize("ps_type", PROCESSORS)
def test_outputs_that_run_gives_are_exactly_those_declared(ps_type: str) -> None:
    processor = type(registry.load(ps_type))

    assert _outputs_in(processor) == processor.outputs
    assert not processor.outputs & IN_EVERY_RESULT


def _outputs_in(processor: type[Processor]) -> set[str]:  # type: ignore[type-arg]
    """Keys of the dictionaries that `run` passes, or assigns, as `outputs`.

    And those of a module whose `OUTPUTS` it imports: the flow that several processors share.
    """
    tree = ast.parse(Path(inspect.getfile(processor)).read_text("utf-8"))
    flows = [
        ast.parse((FOLDER / f"{node.module.rpartition('.')[2]}.py").read_text("utf-8"))
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        if "OUTPUTS" in {name.name for name in node.names}
    ]
    dictionaries = [
        node.value
        for part in (tree, *flows)
        for node in ast.walk(part)
        if (isinstance(node, ast.keyword) and node.arg == "outputs")
        or (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "outputs"
        )
    ]
    found: set[str] = set()
    for dictionary in dictionaries:
        if not isinstance(dictionary, ast.Dict):
            continue
        for key, value in zip(dictionary.keys, dictionary.values, strict=True):
            if isinstance(key, ast.Constant):
                found.add(str(key.value))
            elif ast.unparse(value).startswith(("drift_outputs(", "drift_events.outputs(")):
                found |= drift_events.OUTPUTS
    return found


@pytest.mark.parametrize("ps_type", PROCESSORS)
def test_run_says_why_a_repetition_is_harmless_and_what_it_raises(ps_type: str) -> None:
    documentation = inspect.getdoc(type(registry.load(ps_type)).run) or ""

    assert any(word in documentation for word in HOW_A_REPETITION_IS_HARMLESS)
    assert "Raises:" in documentation
