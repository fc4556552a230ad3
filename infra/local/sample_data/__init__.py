"""A realistic Cloud Billing standard usage export: the same bytes each time, loaded as Google does.

The export is append-only: rows of a usage day arrive for days, corrections of it for weeks, and the
table is partitioned by the day of their arrival. `python -m infra.local.sample_data --help`.
"""

from infra.local.sample_data.generate import Shape, rows
from infra.local.sample_data.load import DETAILED_TABLE, TABLE, Loaded, write
from infra.local.sample_data.organizations import ACCOUNTS, Account

__all__ = ["ACCOUNTS", "DETAILED_TABLE", "TABLE", "Account", "Loaded", "Shape", "rows", "write"]
