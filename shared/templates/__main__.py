"""`python -m shared.templates validate | explain | new | schema | reference`: for authors."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConvergenceError, NotFoundError, Permanent
from shared.templates.built_ins import BuiltIns
from shared.templates.loader import SUFFIX, TemplateLibrary
from shared.templates.problems import TemplateError

if TYPE_CHECKING:
    from shared.templates.compiled import CompiledTemplate

ROOT = Path(__file__).resolve().parents[2]


class NoTemplatesError(Permanent):
    """Nothing to validate is no success."""

    code = "no-templates"

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(f"There is no template below {root}; say where they are by --configs.")


class NobodyToAskError(Permanent):
    """A dry run needs a BigQuery."""

    code = "nobody-to-ask"

    def __init__(self) -> None:
        super().__init__(
            "There is no BigQuery to ask: run `make up` and set BIGQUERY_EMULATOR_HOST to its"
            " BigQuery, such as http://127.0.0.1:9050, or log in by"
            " `gcloud auth application-default login`."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 after problems were printed."""
    options = _parser().parse_args(arguments)
    library = TemplateLibrary(options.configs)
    try:
        result: int = options.run(library, options)
    except ConvergenceError as error:
        _say(str(error), sys.stderr)
        return 1
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shared.templates", description=__doc__)
    parser.add_argument(
        "--configs", type=Path, default=ROOT / "configs", help="folder of the templates"
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    validate = commands.add_parser("validate", help="compile templates and print every fault")
    validate.add_argument("paths", nargs="*", help="files or gcp/cost/cost_billing; all by default")
    validate.add_argument(
        "--dry-run",
        metavar="TENANT",
        help="also ask BigQuery about every query, as a run of this tenant would send it",
    )
    validate.set_defaults(run=_validate)

    explain = commands.add_parser("explain", help="print a template resolved for a tenant")
    explain.add_argument("template", help="such as gcp/cost/cost_billing")
    explain.add_argument("--tenant", required=True, help="tenant ID")
    explain.add_argument("--date", type=_day, help="YYYY-MM-DD; yesterday by default")
    explain.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="given",
        help="a variable as a request body would give it; the value as in YAML",
    )
    explain.add_argument("--project", default="my-project", help="the deployment's project")
    explain.add_argument("--admin-email", default="admin@example.com", help="from the profile")
    explain.add_argument("--billing-account", action="append", default=[], help="may be repeated")
    explain.set_defaults(run=_explain)

    new = commands.add_parser("new", help="write a commented template to start from")
    new.add_argument("template", help="such as aws/security/findings")
    new.set_defaults(run=_new)

    schema = commands.add_parser(
        "schema", help="write the JSON Schema that editors use, and the reference"
    )
    schema.add_argument("--check", action="store_true", help="only say whether it is up to date")
    schema.add_argument("--file", type=Path, default=None, help="schemas/pipeline.schema.json")
    schema.set_defaults(run=_schema)

    reference = commands.add_parser("reference", help="write the generated part of the handbook")
    reference.add_argument("--check", action="store_true", help="only say whether it is up to date")
    reference.add_argument("--file", type=Path, default=None, help="docs/templates.md")
    reference.set_defaults(run=_reference)
    return parser


def _validate(library: TemplateLibrary, options: argparse.Namespace) -> int:
    from shared.templates.schema_files import check_schema_files

    names = [_name(library, path) for path in options.paths] or library.names()
    if not names:
        raise NoTemplatesError(library.root)
    broken, asked = 0, 0
    for name in names:
        try:
            compiled = library.named(name)
            check_schema_files(compiled)
            if options.dry_run:
                asked += _dry_run(compiled, options.dry_run)
        except (TemplateError, NotFoundError) as error:
            broken += 1
            _say(str(error), sys.stderr)
    for path in sorted(library.root.rglob("*.yaml")) if not options.paths else ():
        broken += 1
        _say(f"{path}: not loaded; template files end in {SUFFIX}, so rename it", sys.stderr)
    _say(
        f"{len(names)} templates, {broken} broken"
        if broken
        else f"{len(names)} templates, all good"
    )
    if options.dry_run:
        _say(f"{asked} steps with queries asked of BigQuery")
    return 1 if broken else 0


def _dry_run(compiled: "CompiledTemplate", tenant_id: str) -> int:
    """How many steps were asked about.

    Raises:
        TemplateError: what BigQuery or a processor would refuse, each with its place.
        NobodyToAskError: there is neither a local cloud nor a login.
    """
    from google.auth.exceptions import DefaultCredentialsError

    from shared.templates.dry_runs import dry_run

    try:
        found = dry_run(compiled, tenant_id, datetime.now(UTC).date() - timedelta(days=1))
    except DefaultCredentialsError:
        raise NobodyToAskError from None
    for one in found.waiting:
        _say(f"{one.headline}; ask again after a run has made it")
    if found.problems:
        raise TemplateError(found.problems)
    return found.asked


def _name(library: TemplateLibrary, path: str) -> str:
    """The template of a file or of a name; a name that nothing has is reported later."""
    file = Path(path)
    if file.suffix != SUFFIX:
        return path
    root = library.root.resolve()
    resolved = file.resolve()
    inside = resolved.relative_to(root) if resolved.is_relative_to(root) else file
    return inside.with_suffix("").as_posix()


def _explain(library: TemplateLibrary, options: argparse.Namespace) -> int:
    from shared.templates.explain import explain
    from shared.templates.resolver import resolve
    from shared.tenancy.names import check_tenant_id

    today = datetime.now(UTC).date()
    check_tenant_id(options.tenant, "--tenant")
    facts = BuiltIns(
        tenant_id=options.tenant,
        date=options.date or today - timedelta(days=1),
        run_date=today,
        project_id=options.project,
        pipeline_logging_id="(given at the start)",
        trigger_by="explain",
        company_name=options.tenant,
        billing_account_ids=options.billing_account,
        admin_email=options.admin_email,
    )
    overrides = dict(_assignment(text) for text in options.given)
    compiled = library.named(options.template)
    _say(explain(compiled, resolve(compiled, facts, overrides), overrides).rstrip())
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = f"must be a day as YYYY-MM-DD, such as 2025-11-15, not {text!r}"
        raise argparse.ArgumentTypeError(problem) from None


def _assignment(text: str) -> tuple[str, Any]:
    import yaml

    name, sign, value = text.partition("=")
    if not sign:
        raise SystemExit(f"--set {text!r}: write NAME=VALUE, such as destination_table=costs")
    parsed = yaml.safe_load(value)
    return name, parsed.isoformat() if isinstance(parsed, date) else parsed


def _new(library: TemplateLibrary, options: argparse.Namespace) -> int:
    from shared.templates import scaffold, schema

    file = scaffold.write(library.root, options.template, ROOT / schema.FILE)
    library.named(options.template)
    _say(f"wrote {file}")
    return 0


def _schema(library: TemplateLibrary, options: argparse.Namespace) -> int:
    from shared.templates import schema

    file = options.file or ROOT / schema.FILE
    code = _write(file, schema.text(), "schema", is_check=options.check)
    # Both are made from the models alone: whoever changes one runs one command.
    return code or (0 if options.file else _reference(library, options))


def _reference(_: TemplateLibrary, options: argparse.Namespace) -> int:
    from shared.templates import reference

    file = options.file or ROOT / reference.FILE
    current = file.read_text(encoding="utf-8") if file.exists() else ""
    return _write(file, reference.document(current), "reference", is_check=options.check)


def _write(file: Path, wanted: str, command: str, *, is_check: bool) -> int:
    if is_check:
        current = file.read_text(encoding="utf-8") if file.exists() else ""
        same = current == wanted
        _say(
            f"{file}: "
            + ("up to date" if same else f"differs; run python -m shared.templates {command}")
        )
        return 0 if same else 1
    file.write_text(wanted, encoding="utf-8")
    _say(f"wrote {file}")
    return 0


def _say(text: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
