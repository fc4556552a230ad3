"""Processors whose models hold SQL in every shape, and any value."""

from typing import Any, ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.contract import Processor, Query, StepContext, StepResult


class Rule(Model):
    name: str
    query: Query


class QueriesConfig(Model):
    query: Query
    optional: Query | None = None
    listed: list[Query] = Field(default_factory=list)
    paired: tuple[Query, ...] = ()
    named: dict[str, Query] = Field(default_factory=dict)
    rules: list[Rule] = Field(default_factory=list)
    either: Rule | int | None = None
    limit: int = 10


class AnythingConfig(Model):
    value: Any = None


class EngineConfig(Model):
    source: dict[str, Query]
    destination: dict[str, str]


class _Sample(Processor[Any]):
    def run(self, config: Any, context: StepContext) -> StepResult:
        return StepResult()


class Queries(_Sample):
    ps_type = "sample.queries"
    config_model: ClassVar[type[Model]] = QueriesConfig
    outputs = frozenset({"largest", "tables"})


class Anything(_Sample):
    ps_type = "sample.anything"
    config_model: ClassVar[type[Model]] = AnythingConfig
    outputs = frozenset({"found"})


class Engine(_Sample):
    """Stands for `{provider}.processor_engine` of the documentation's example."""

    ps_type = "gcp.processor_engine"
    config_model: ClassVar[type[Model]] = EngineConfig
