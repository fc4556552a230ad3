"""How a provider fails a step: the same kinds for every cloud.

Whatever may pass uses up one of the step's attempts (`AttemptFailedError`): the log says what
happened, the step's own `retry` says when it is tried again, and the last attempt's error is the
step's. Nothing has been written then, because everything is fetched before a job begins.
"""

from shared.errors import Permanent
from shared.processors.contract import AttemptFailedError


class ProviderUnavailableError(AttemptFailedError):
    """The provider throttles, fails or does not answer."""

    def __init__(
        self, service: str, problem: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(
            f"{service} {problem}; nothing was written.", retry_after_seconds=retry_after_seconds
        )
        self.service = service


class IncompleteAnswerError(AttemptFailedError):
    """What arrived is not whole: a page was cut off, or pages do not fit together."""

    def __init__(self, service: str, problem: str) -> None:
        super().__init__(f"{service} answered incompletely: {problem}; nothing was written.")
        self.service = service


class ProviderRefusedError(Permanent):
    """The provider says no to the credential or to the request; a person has to change it."""

    code = "provider-refused"

    def __init__(self, service: str, problem: str, provider_code: str = "") -> None:
        super().__init__(f"{service} {problem}")
        self.service = service
        self.provider_code = provider_code
        """What the provider calls it."""


class CredentialExpiredError(ProviderRefusedError):
    """What the tenant stored is no longer valid."""

    code = "credential-expired"


class SourceShapeError(Permanent):
    """The answer has another form than the provider's documentation and this step expect."""

    code = "source-changed"

    def __init__(self, service: str, place: str, problem: str) -> None:
        super().__init__(
            f"{service} answered in another form than expected: {place} {problem}. Nothing was"
            " written; the step's processor has to learn the new form."
        )
        self.service = service
        self.place = place
