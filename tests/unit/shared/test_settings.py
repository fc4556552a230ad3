from dataclasses import FrozenInstanceError, fields

import pytest

from shared.settings import Settings, SettingsError, describe, from_environment, settings

MINIMAL = {"GCP_PROJECT_ID": "convergence-unit"}


def test_only_the_project_is_needed_to_start() -> None:
    found = from_environment(MINIMAL)

    assert found.GCP_PROJECT_ID == "convergence-unit"
    assert found.BIGQUERY_LOCATION == "US"
    assert not found.DISABLE_AUTH
    assert (found.CONFIGS_DIR / "plans.yml").is_file()


@pytest.mark.parametrize("environment", [{}, {"GCP_PROJECT_ID": ""}])
def test_missing_variable_is_named_with_what_it_is_for(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment(environment)

    assert str(caught.value) == (
        "GCP_PROJECT_ID is not set. Project that holds datasets, topics, keys and secrets."
    )


def test_every_malformed_variable_is_named_with_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment(
            {**MINIMAL, "SMTP_PORT": "70000", "LOG_LEVEL": "LOUD", "OPEN_ONBOARDING": "perhaps"}
        )

    text = str(caught.value)
    assert "SMTP_PORT is '70000': write a whole number from 1 to 65535" in text
    assert "LOG_LEVEL is 'LOUD': write DEBUG, INFO, WARNING or ERROR" in text
    assert "OPEN_ONBOARDING is 'perhaps': write true or false" in text


def test_disabled_authentication_is_refused_on_cloud_run() -> None:
    with pytest.raises(SettingsError, match="DISABLE_AUTH is refused on Cloud Run"):
        from_environment({**MINIMAL, "DISABLE_AUTH": "true", "K_SERVICE": "api"})


def test_disabled_authentication_is_taken_on_a_laptop() -> None:
    assert from_environment({**MINIMAL, "DISABLE_AUTH": "true"}).DISABLE_AUTH


def test_origins_are_a_json_array() -> None:
    found = from_environment(
        {**MINIMAL, "CORS_ORIGINS": '["https://a.example", "https://b.example"]'}
    )

    assert found.CORS_ORIGINS == ("https://a.example", "https://b.example")


@pytest.mark.parametrize("text", ["https://a.example", '{"a": 1}', "[1, 2]", '"https://a.example"'])
def test_origins_in_another_form_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        from_environment({**MINIMAL, "CORS_ORIGINS": text})


def test_empty_variables_count_as_unset() -> None:
    found = from_environment({**MINIMAL, "SMTP_HOST": "", "CORS_ORIGINS": "", "SMTP_PORT": ""})

    assert found.SMTP_HOST is None
    assert found.CORS_ORIGINS == ()
    assert found.SMTP_PORT == 587


def test_needed_optional_variable_is_asked_for_by_name() -> None:
    with pytest.raises(SettingsError, match=r"^SMTP_HOST is not set\. Mail server\.$"):
        from_environment(MINIMAL).require("SMTP_HOST")


def test_step_deadline_stays_below_the_push_deadline_of_ten_minutes() -> None:
    with pytest.raises(SettingsError, match="STEP_TIMEOUT_SECONDS"):
        from_environment({**MINIMAL, "STEP_TIMEOUT_SECONDS": "600"})


def test_settings_are_read_once_and_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings()
    monkeypatch.setenv("GCP_PROJECT_ID", "another")

    assert settings() is first
    with pytest.raises(FrozenInstanceError):
        first.GCP_PROJECT_ID = "another"  # type: ignore[misc]


def test_every_variable_is_described_in_a_sentence() -> None:
    for variable in fields(Settings):
        assert describe(variable.name).endswith("."), variable.name
