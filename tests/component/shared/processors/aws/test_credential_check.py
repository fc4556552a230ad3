"""Stored credentials of AWS, asked of STS."""

import pytest

from shared.processors import credential_checks
from shared.processors.aws import session
from shared.processors.contract import AttemptFailedError
from shared.settings import settings
from tests.aws import Account
from tests.component.shared.processors.aws.scripted import scripted, xml_error
from tests.credential_samples import SECRET_KEY, aws_keys


def test_a_role_is_assumed_and_keys_are_named(account: Account) -> None:
    for fields in (account.role, aws_keys()):
        finding = credential_checks.check("AWS", fields)
        assert (finding.checked, finding.problems) == ("provider", ())


def test_a_refusal_names_the_field_and_repeats_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted() as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        sts.will_say(xml_error("InvalidClientTokenId", f"{SECRET_KEY} is invalid"))
        finding = credential_checks.check("AWS", aws_keys())
    (problem,) = finding.problems
    assert finding.checked == "provider"
    assert problem.pointer == "/credentials/access_key_id"
    assert problem.problem == "STS does not accept it (InvalidClientTokenId)"


def test_an_sts_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    with pytest.raises(AttemptFailedError, match="STS does not answer"):
        credential_checks.check("AWS", aws_keys())


def test_where_nothing_can_be_asked_the_shape_is_checked(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_IDENTITY_SECRET")
    settings.cache_clear()
    assert credential_checks.check("AWS", account.role).checked == "shape"
    assert credential_checks.check("AWS", {"role_arn": "x"}).problems
