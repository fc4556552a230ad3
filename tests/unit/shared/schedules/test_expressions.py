"""Which cron expressions are taken, and what is said of the others."""

import pytest

from shared.schedules.expressions import CronSyntaxError, parse


def problems(expression: str) -> tuple[str, ...]:
    with pytest.raises(CronSyntaxError) as refused:
        parse(expression)
    return refused.value.problems


@pytest.mark.parametrize(
    ("expression", "canonical"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0\t2  * * * ", "0 2 * * *"),
        ("*/20 9-17/4 1,15 JAN-MAR,dec mon-FRI", "0,20,40 9,13,17 1,15 1,2,3,12 1,2,3,4,5"),
        ("0 0 1 * 7", "0 0 1 * 0"),
        ("00 02 01 01 *", "0 2 1 1 *"),
        ("0-59 0-23 * 1-12 0-6", "* * * * *"),
        ("0 0 1-31 * MON", f"0 0 {','.join(map(str, range(1, 32)))} * 1"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("5,5,5 2 * * *", "5 2 * * *"),
    ],
)
def test_accepted(expression: str, canonical: str) -> None:
    assert parse(expression).canonical == canonical


@pytest.mark.parametrize(
    ("expression", "field", "said"),
    [
        ("60 2 * * *", "minute", "60 is not between 0 and 59. It holds 0-59, "),
        ("0 24 * * *", "hour", "24 is not between 0 and 23. It holds 0-23, "),
        ("0 2 0 * *", "day of month", "0 is not between 1 and 31. It holds 1-31, "),
        ("0 2 32 * *", "day of month", "32 is not between 1 and 31"),
        ("0 2 * 13 *", "month", "13 is not between 1 and 12. It holds 1-12 or JAN-DEC, "),
        ("0 2 * 0 *", "month", "0 is not between 1 and 12"),
        ("0 2 * * 8", "day of week", "8 is not between 0 and 7. It holds 0-7 or SUN-SAT, "),
        ("0 2 * * MO", "day of week", "'MO' is no value"),
        ("0 2 * * Monday", "day of week", "'Monday' is no value; write MON"),
        ("0 2 * * JAN", "day of week", "'JAN' belongs into the field month"),
        ("0 2 * MON *", "month", "'MON' belongs into the field day of week"),
        ("0 2 L * *", "day of month", "'L' (L: last, W: nearest weekday) is not supported"),
        ("0 2 15W * *", "day of month", "'15W' (L: last"),
        ("0 2 * * 5L", "day of week", "'5L' (L: last"),
        ("0 2 * * MON#1", "day of week", "'#' (the nth weekday of a month) is not supported"),
        ("0 2 ? * MON", "day of month", "'?' is not supported; write * for any"),
        ("H 2 * * *", "minute", "'H' (a value of the cron's choice) is not supported"),
        ("0~59 2 * * *", "minute", "'~' (a random value) is not supported; set max_jitter_seconds"),
        ("*/0 2 * * *", "minute", "a step is 1 or more"),
        ("*/90 * * * *", "minute", "the step 90 is longer than the range 0-59 that it divides"),
        ("5/15 * * * *", "minute", "a step needs a range; write 5-59/15 or */15"),
        ("0 22-2 * * *", "hour", "the range 22-2 runs backwards; write 22-23,0-2"),
        ("0 2 * * FRI-MON", "day of week", "runs backwards; write FRI-6,0-MON"),
        ("0 1, * * *", "hour", "a value is missing"),
        ("0 1-2-3 * * *", "hour", "'1-2-3' is not a value, a range or a step"),
        ("0 -2 * * *", "hour", "'-2' is not a value, a range or a step"),
        ("0 *2 * * *", "hour", "'*2' is not a value, a range or a step"),
        ("0 *-5 * * *", "hour", "is not a range; write * or two numbers"),
        ("0 2.5 * * *", "hour", "'2.5' is no value"),
        ("0 \uff12 * * *", "hour", "'\uff12' is no value"),
        ("0 99999999999 * * *", "hour", "'99999999999' is no value"),
    ],
)
def test_refused_with_the_wrong_field_and_what_it_may_hold(
    expression: str, field: str, said: str
) -> None:
    (problem,) = problems(expression)

    assert problem.startswith(f"{field} is '")
    assert said in problem
    assert "It holds " in problem


def test_every_wrong_field_is_named_at_once() -> None:
    found = problems("60 24 32 13 8")

    assert [problem.partition(" is ")[0] for problem in found] == [
        "minute", "hour", "day of month", "month", "day of week",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "has 0 fields, a cron expression has five: minute, hour, day of month"),
        ("daily", "has 1 field, a cron expression has five"),
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * *", "has 6 fields, a cron expression has five: minute, hour, day of month, "),
        ("0 0 2 * * *", "such as 0 2 * * *; seconds and years are not supported"),
        ("0 2 * * * 2026 1 1", "has 8 fields"),
        ("@hourly", "'@hourly' is a nickname; write its five fields, such as 0 * * * *"),
        ("@Daily", "such as 0 0 * * *"),
        ("@reboot", "'@reboot' is a nickname"),
        ("TZ=UTC 0 2 * * *", "holds a time zone; put it into the field timezone"),
        ("CRON_TZ=UTC 0 2 * * *", "holds a time zone"),
        ("0,1," * 80 + "2 2 * * *", "has 329 characters; 200 is the limit"),
    ],
)  # fmt: skip
def test_refused_as_a_whole(expression: str, said: str) -> None:
    (problem,) = problems(expression)

    assert said in problem


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\n", "\x1f"])
def test_only_spaces_and_tabs_part_fields(space: str) -> None:
    assert problems(f"0{space}2{space}*{space}*{space}*")[0].startswith("has 1 field,")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 0 31 2 *", "never comes: day of month is 31, and FEB has 29 days at most"),
        ("0 0 30 FEB *", "never comes: day of month is 30, and FEB has 29 days at most"),
        ("0 0 31 2,4,6,9,11 *", "31, and FEB, APR, JUN, SEP, NOV has 30 days at most"),
        ("0 0 31 2 */2", "never comes"),
    ],
)
def test_a_date_that_no_year_has_is_refused(expression: str, said: str) -> None:
    assert said in problems(expression)[0]


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 30,31 2,3 *", "0 0 31 2 MON"])
def test_a_date_that_some_year_has_is_taken(expression: str) -> None:
    parse(expression)
