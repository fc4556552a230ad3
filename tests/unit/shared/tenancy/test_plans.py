import pytest

from shared.errors import InvalidInputError
from shared.tenancy import plans


@pytest.fixture(autouse=True)
def _plans_of_the_repository() -> None:
    plans.plans.cache_clear()


@pytest.mark.parametrize(
    ("name", "daily", "monthly", "concurrent", "team", "providers"),
    [
        ("STARTER", 6, 180, 3, 2, 3),
        ("PROFESSIONAL", 25, 750, 5, 6, 6),
        ("SCALE", 100, 3000, 10, 11, 10),
    ],
)
def test_plans_have_the_documented_limits(
    name: str, daily: int, monthly: int, concurrent: int, team: int, providers: int
) -> None:
    plan = plans.plan(name)

    assert (plan.daily_limit, plan.monthly_limit, plan.concurrent_limit) == (
        daily,
        monthly,
        concurrent,
    )
    assert (plan.team_limit, plan.providers_limit) == (team, providers)


def test_plan_is_found_in_any_case_and_the_default_exists() -> None:
    assert plans.plan("professional") == plans.plan("PROFESSIONAL")
    assert plans.plan(plans.DEFAULT_PLAN)


def test_unknown_plan_lists_those_that_exist() -> None:
    with pytest.raises(InvalidInputError, match="STARTER, PROFESSIONAL, SCALE") as caught:
        plans.plan("GOLD")

    assert caught.value.problems[0].pointer == "/subscription_plan"
