"""A template that is right, ready to be resolved for any tenant."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.templates.document import Node
from shared.templates.plans import Plan
from shared.templates.steps import CompiledStep
from shared.templates.value_types import ValueType
from shared.templates.variables import Variable


@dataclass(frozen=True)
class CompiledTemplate:
    """One file of `configs/` with what it inherits; immutable, shared by all threads."""

    provider: str
    domain: str
    template_name: str
    file: str
    variables: Mapping[str, Variable]
    kinds: Mapping[str, ValueType]
    steps: tuple[CompiledStep, ...]
    closed: Plan
    """For runs whose body replaces no variable."""
    open: Plan
    """For the others."""
    variable_nodes: Node | None
    """`variables:` as written."""
    max_bytes_billed: int | None
    """Most bytes that one query may scan, as the template says."""
    needs_admin_email: bool
    """Whether it uses the profile's `admin_email`, and not one of its own."""

    @property
    def path(self) -> str:
        """`gcp/cost/cost_billing`."""
        return "/".join(part for part in (self.provider, self.domain, self.template_name) if part)
