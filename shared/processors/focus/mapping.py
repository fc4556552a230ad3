"""Mappings: how the charges of an export become FOCUS, as reviewed files say it.

`mappings/<export>.yml` has everything that is particular to an export: the columns that are read,
the charges that they make, an expression for each column of FOCUS, and why some stay NULL. There
is no code for a provider. Expressions are GoogleSQL of ours; nothing of a request is in them.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from shared.errors import Permanent
from shared.models import Model
from shared.warehouse.schemas import TableSchema, TimePartitioning, load_table

ROOT = Path(__file__).with_name("mappings")
VERSIONS = ("1.2", "1.3", "1.4")
CLASSIFIED = ("ServiceCategory", "ServiceSubcategory")
"""Columns that follow from `services`."""
_OTHER = "Other"


class MappingFileError(Permanent):
    """A file below `mappings/` does not map what it says."""

    code = "invalid-focus-mapping"

    def __init__(self, export: str, problem: str) -> None:
        super().__init__(f"mappings/{export}.yml: {problem}")


class Mapping(Model):
    """One export's file."""

    provider: Literal["gcp", "aws", "azure"] = Field(description="Whose export it is.")
    partition: TimePartitioning = Field(description="What of the table a run replaces at a time.")
    passes_through: bool = Field(
        default=False,
        description="Whether the export is FOCUS: columns not named pass as they are.",
    )
    reads: dict[str, tuple[str, ...]] = Field(
        description="Our name: GoogleSQL type, then names that the column has; the first counts."
    )
    needs: tuple[str, ...] = Field(description="Those of `reads` without which nothing is right.")
    prune: str | None = Field(
        default=None, description="Condition on the export's own columns, for its partitions."
    )
    where: str = Field(description="Condition on `reads`: the rows of @date, of @accounts.")
    control: str = Field(description="currency and cost of `source`: what BilledCost must add to.")
    charges: str = Field(description="SELECT from `source`: one row a charge.")
    service: str = Field(description="Column of the charges that `services` is looked up by.")
    services: dict[str, tuple[str, str]] = Field(description="Service: category, subcategory.")
    columns: dict[str, str] = Field(
        description="Column of FOCUS: GoogleSQL over `charge`; `=Other` is as that column."
    )
    absent: dict[str, str] = Field(description="Columns that stay NULL, each with the reason.")

    @model_validator(mode="after")
    def _is_of_focus(self) -> "Mapping":
        every = {column.name for version in VERSIONS for column in catalogue(version).fields}
        named = {*self.columns, *self.absent}
        open_ = every - named - ({*self.services} and {*CLASSIFIED})
        if open_ and not self.passes_through:
            raise ValueError(f"neither columns nor absent say {', '.join(sorted(open_))}")
        if named - every:
            raise ValueError(f"no version has {', '.join(sorted(named - every))}")
        if twice := self.columns.keys() & self.absent.keys():
            raise ValueError(f"both mapped and absent: {', '.join(sorted(twice))}")
        if (
            unread := set(self.needs)
            - self.reads.keys()
            - (every if self.passes_through else set())
        ):
            raise ValueError(f"needs what is not read: {', '.join(sorted(unread))}")
        known = subcategories()
        for service, pair in self.services.items():
            if pair[1] not in known.get(pair[0], ()):
                raise ValueError(f"{service}: FOCUS has no {pair[1]} in {pair[0]}")
        return self

    def expression(self, column: str) -> str | None:
        """What gives the column; None where it stays NULL."""
        text = self.columns.get(column)
        if text is not None:
            return self.expression(text[1:].strip()) if text.startswith("=") else text.strip()
        return f"charge.`{column}`" if self.passes_through and column not in self.absent else None


@cache
def mapping(export: str) -> Mapping:
    """The mapping of an export, by the name of its file.

    Raises:
        MappingFileError: the file is wrong.
    """
    try:
        return Mapping.model_validate(_read(export))
    except (ValidationError, OSError, ValueError) as error:
        raise MappingFileError(export, str(error)) from error


@cache
def catalogue(version: str) -> TableSchema:
    """The columns of a version of FOCUS, with ours at the end."""
    return load_table(f"focus/cost_and_usage_{version.replace('.', '_')}")


@cache
def subcategories() -> dict[str, tuple[str, ...]]:
    """The allowed values of ServiceSubcategory, by their ServiceCategory."""
    listed: dict[str, list[str]] = _read("categories")
    return {category: (*own, f"{_OTHER} ({category})") for category, own in listed.items()}


def _read(name: str) -> Any:
    import yaml

    return yaml.safe_load((ROOT / f"{name}.yml").read_text(encoding="utf-8"))
