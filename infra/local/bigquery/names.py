"""Names as BigQuery takes them: datasets, tables, labels, jobs."""

import re
import unicodedata
from typing import Any

from infra.local.bigquery.errors import ApiError

_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
_JOB = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_TABLE_CATEGORIES = ("L", "M", "N", "Pc", "Pd", "Zs")  # BigQuery, "Create and use tables"
_MAX_LABELS = 64  # BigQuery, "Introduction to labels"
_MAX_LABEL = 63


def check_dataset_name(name: str) -> str:
    """The name itself.

    Raises:
        ApiError: 400 invalid.
    """
    if not _DATASET.fullmatch(name):
        raise ApiError.invalid(
            f'Invalid dataset ID "{name}". Dataset IDs must be alphanumeric (plus underscores)'
            " and must be at most 1024 characters long."
        )
    return name


def check_table_name(name: str) -> str:
    """The name itself, without decorator.

    Raises:
        ApiError: 400 invalid.
    """
    allowed = all(
        unicodedata.category(character).startswith(_TABLE_CATEGORIES) for character in name
    )
    if not name or not allowed or len(name.encode()) > 1024:
        raise ApiError.invalid(
            f'Invalid table ID "{name}". Table IDs must be alphanumeric (plus underscores)'
            " and must be at most 1024 characters long. Also, Table decorators cannot be used."
        )
    return name


def check_job_id(job_id: str) -> str:
    """The ID itself.

    Raises:
        ApiError: 400 invalid.
    """
    if not _JOB.fullmatch(job_id):
        raise ApiError.invalid(
            f'Invalid job ID "{job_id}". Job IDs must be alphanumeric (plus underscores and dashes)'
            " and must be at most 1024 characters long."
        )
    return job_id


def check_labels(labels: dict[str, Any] | None) -> dict[str, str]:
    """The labels, empty for None.

    Raises:
        ApiError: 400 invalid, naming the key or value.
    """
    labels = labels or {}
    if len(labels) > _MAX_LABELS:
        raise ApiError.invalid(f"Too many labels: {len(labels)}, at most {_MAX_LABELS} are allowed")
    for key, value in labels.items():
        if not key or not key[0].isalpha() or not _label_text(key):
            raise ApiError.invalid(
                f'Label key "{key}" must start with a letter and contain only lowercase letters,'
                " numbers, underscores and dashes, at most 63 characters."
            )
        if not isinstance(value, str) or not _label_text(value):
            raise ApiError.invalid(
                f'Label value "{value}" of key "{key}" must contain only lowercase letters,'
                " numbers, underscores and dashes, at most 63 characters."
            )
    return labels


def _label_text(text: str) -> bool:
    return len(text) <= _MAX_LABEL and all(
        character in "_-" or (character.isalnum() and not character.isupper()) for character in text
    )


def split_decorator(name: str) -> tuple[str, str | None]:
    """`t$20251115` as ("t", "20251115"), `t` as ("t", None)."""
    base, separator, partition = name.partition("$")
    return base, partition if separator else None
