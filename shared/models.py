"""The base of every pydantic model of the product."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen and closed: what is not declared is an error that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
