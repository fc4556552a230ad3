"""Which data keys a call takes on; what happens to them is in tests/component."""

from pytest_mock import MockerFixture

from shared.crypto import DecryptionError
from shared.errors import ConflictError
from shared.tenancy import key_rotation
from shared.tenancy.key_rotation import Progress


def rewrap(mocker: MockerFixture, *outcomes: bool | Exception, limit: int = 100) -> Progress:
    """A call that finds one credential for each outcome, of as many tenants."""
    mocker.patch("shared.crypto.primary_version", return_value="2")
    due = [(f"tenant_{place}", "c") for place in range(len(outcomes))]
    mocker.patch("shared.tenancy.credential_rotation.due", return_value=due)
    mocker.patch("shared.tenancy.api_key_rotation.due", return_value=[])
    mocker.patch.object(key_rotation, "_AT_ONCE", 1)
    work = mocker.Mock(side_effect=outcomes)
    mocker.patch.dict(key_rotation._REWRAP, {"credential": work})
    return key_rotation.rewrap_all(limit=limit, seconds=60, changed_by="operator")


def test_the_limit_counts_what_was_done_so_that_the_unreadable_hold_up_nothing(
    mocker: MockerFixture,
) -> None:
    lost = DecryptionError("destroyed")

    done = rewrap(mocker, lost, lost, lost, True, True, True, limit=2)

    assert (len(done.unreadable), len(done.rewrapped), done.remaining) == (3, 2, 1)


def test_what_is_busy_remains_and_what_somebody_else_did_does_not(mocker: MockerFixture) -> None:
    done = rewrap(mocker, ConflictError("changed elsewhere"), False, True)

    assert (len(done.rewrapped), done.remaining) == (1, 1)
