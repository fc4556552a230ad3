"""The component tests' local cloud, under the proofs."""

from tests.component.conftest import cloud
from tests.component.shared.conftest import _central, _environment, central

__all__ = ["_central", "_environment", "central", "cloud"]
