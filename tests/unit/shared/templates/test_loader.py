"""Templates are found by name, compiled once, and not kept when they are broken."""

# ruff: noqa: E501 - one case a line

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import NotFoundError
from shared.templates import loader as loader_module
from shared.templates.problems import TemplateError

GOOD = 'steps:\n  - step_id: "a"\n    ps_type: "sample.anything"\n'
BAD = GOOD.replace("sample.anything", "sample.anythin")


@pytest.mark.parametrize(
    ("parts", "kind", "near"),
    [
        (("gpc", "cost", "cost_billing"), "Provider", ("gcp",)),
        (("gcp", "costs", "cost_billing"), "Domain", ("cost",)),
        (("gcp", "cost", "cost_biling"), "Template", ("cost_billing",)),
        (("gcp", "cost", "Cost_Billing"), "Template", ("cost_billing",)),
        (("customer", "", "onbording"), "Template", ("onboarding",)),
        (("gcp", "cost", "../cost/cost_billing"), "Template", ("cost_billing",)),
        (("..", "cost", "cost_billing"), "Provider", ()),
        (("gcp", ".", "cost_billing"), "Domain", ()),
        (("gcp", "cost", "cost_billing\x00"), "Template", ("cost_billing",)),
        (("gcp", "", "cost"), "Template", ()),
    ],
)
def test_unknown_names_are_answered_with_near_ones(library, parts, kind, near):
    templates = library({"gcp/cost/cost_billing": GOOD, "customer/onboarding": GOOD})
    with pytest.raises(NotFoundError) as caught:
        templates.get(*parts)
    assert (caught.value.kind, caught.value.near) == (kind, near)


def test_names_are_the_templates_and_nothing_else(library):
    templates = library(
        {"gcp/cost/b": GOOD, "gcp/cost/a": GOOD, "customer/onboarding": GOOD, "plans": "x: 1\n"}
    )
    (templates.root / "gcp" / "cost" / "c.yaml").write_text(GOOD)
    assert templates.names() == ["customer/onboarding", "gcp/cost/a", "gcp/cost/b"]
    with pytest.raises(NotFoundError):
        templates.named("plans")


def test_template_is_read_and_compiled_once_by_any_number_of_threads(library, monkeypatch):
    templates = library({"gcp/cost/a": GOOD})
    calls = []
    original = loader_module.compile_template
    gate = threading.Barrier(8)

    def counting(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(loader_module, "compile_template", counting)

    def load(_):
        gate.wait()
        return templates.named("gcp/cost/a")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load, range(8)))
    assert len(calls) == 1
    assert all(template is found[0] for template in found)


def test_broken_template_is_not_kept_and_a_good_one_is(library):
    templates = library({"gcp/cost/a": BAD})
    for _ in range(2):
        with pytest.raises(TemplateError):
            templates.named("gcp/cost/a")
    (templates.root / "gcp" / "cost" / "a.yml").write_text(GOOD)
    good = templates.named("gcp/cost/a")
    (templates.root / "gcp" / "cost" / "a.yml").write_text(BAD)
    assert templates.named("gcp/cost/a") is good


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8 here; save the file as UTF-8"),
        (b"steps: \xe9\n", "configs/gcp/cost/a.yml:1:8: not UTF-8 here"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "byte order mark"),
        (b"#" * (512 * 1024 + 1), "524288 is the limit"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\n" + b"".join(
            b"%c: &%c [*%c, *%c, *%c]\n" % (c, c, c - 1, c - 1, c - 1) for c in range(99, 115)), "20000 is the limit"),
        (b"x: " + b"[" * 50_000 + b"]" * 50_000, "nested"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_say_why(library, content, message):
    templates = library({"gcp/cost/a": ""})
    (templates.root / "gcp" / "cost" / "a.yml").write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        templates.named("gcp/cost/a")
    assert message in str(caught.value)


def test_windows_line_ends_change_neither_values_nor_places(library):
    templates = library({"gcp/cost/a": ""})
    file = templates.root / "gcp" / "cost" / "a.yml"
    file.write_bytes((GOOD + '    value: "{dat}"\n').replace("\n", "\r\n").encode())
    with pytest.raises(TemplateError) as caught:
        templates.named("gcp/cost/a")
    assert str(caught.value).startswith("configs/gcp/cost/a.yml:4:13: unknown variable 'dat'")
    assert "\r" not in str(caught.value)


def test_scalars_follow_yaml_1_2(resolved):
    values = (
        resolved(
            GOOD
            + "    value: [on, yes, NO, 1:30, 0x1F, 12, -1.5, true, ~, 2025-01-31, 2025-13-01, .5]\n"
        )
        .steps[0]
        .config["value"]
    )
    assert values == [
        "on",
        "yes",
        "NO",
        "1:30",
        "0x1F",
        12,
        -1.5,
        True,
        None,
        "2025-01-31",
        "2025-13-01",
        0.5,
    ]
