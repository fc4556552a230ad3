"""Exports as the providers publish them, small and with every kind of charge."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from google.cloud import bigquery

from infra.local.sample_data.schema import COLUMNS, DETAILED_COLUMNS
from shared.warehouse.schemas import load_table

DAY = date(2025, 11, 15)
MONTH = date(2025, 11, 1)
ACCOUNT = "09F1E2-D3C4B5-A69788"


# --- Cloud Billing -------------------------------------------------------------------------------


def gcp_row(cost: float, service: str = "Compute Engine", **changes: Any) -> dict[str, Any]:
    """A line of the detailed export, an hour of usage unless it says otherwise."""
    start = datetime(2025, 11, 15, 7, tzinfo=UTC)
    row: dict[str, Any] = {
        "billing_account_id": ACCOUNT,
        "invoice": {"month": "202511", "publisher_type": "GOOGLE"},
        "cost_type": "regular",
        "service": {"id": "6F81-5844-456A", "description": service},
        "sku": {"id": "8E1B-B2FF-05F4", "description": "N2 Instance Core running in Iowa"},
        "usage_start_time": start.isoformat(),
        "usage_end_time": (start + timedelta(hours=1)).isoformat(),
        "project": {
            "id": "web-prod",
            "number": "112233",
            "name": "Web",
            "labels": [{"key": "team", "value": "platform"}, {"key": "cc", "value": "42"}],
        },
        "labels": [{"key": "team", "value": 'we"b'}],
        "system_labels": [{"key": "compute.googleapis.com/cores", "value": "8"}],
        "location": {
            "location": "us-central1-b",
            "country": "US",
            "region": "us-central1",
            "zone": "us-central1-b",
        },
        "cost": cost,
        "currency": "USD",
        "currency_conversion_rate": 1.0,
        "usage": {
            "amount": 3600.0,
            "unit": "seconds",
            "amount_in_pricing_units": 1.0,
            "pricing_unit": "hour",
        },
        "credits": [],
        "export_time": "2025-11-16T04:00:00+00:00",
        "tags": [],
        "cost_at_list": cost,
        "transaction_type": "GOOGLE",
        "seller_name": "Google LLC",
        "price": {
            "list_price": "0.031611",
            "effective_price": "0.031611",
            "tier_start_amount": "0",
            "pricing_unit_quantity": "1",
            "unit": "hour",
        },
        "resource": {
            "name": "web-1",
            "global_name": "//compute.googleapis.com/projects/1/zones/us-central1-b/instance/77",
        },
    }
    return row | changes


def gcp_credit(kind: str, amount: float, name: str = "A credit") -> dict[str, Any]:
    """An entry of a line's credits."""
    return {"id": f"id-{kind}", "full_name": name, "type": kind, "name": name, "amount": amount}


_INVOICE: dict[str, Any] = {
    "labels": [], "system_labels": [], "project": None, "location": None, "price": None,
    "usage": None, "resource": None, "cost_at_list": None,
}  # fmt: skip


def gcp_rows() -> list[dict[str, Any]]:
    """A day with usage, discounts, a promotion, a commitment, tax, a correction and rounding."""
    tax = {"id": None, "description": "Tax"}
    return [
        gcp_row(0.1),
        gcp_row(0.2, credits=[gcp_credit("SUSTAINED_USAGE_DISCOUNT", -0.03)]),
        gcp_row(
            10.7,
            credits=[
                gcp_credit("COMMITTED_USAGE_DISCOUNT", -10.7, "Committed use discount: CPU"),
                gcp_credit("PROMOTION", -0.0000001, "Startup program"),
            ],
        ),
        gcp_row(
            5.5,
            sku={"id": "AAAA-BBBB-CCCC", "description": "Commitment v1: N2 Cpu in Iowa for 1 Year"},
            resource=None,
        ),
        gcp_row(0.3, "Cloud Storage", currency="EUR", seller_name="Google Cloud EMEA Limited"),
        gcp_row(1.1, "A service that nobody knows yet", labels=[], resource=None),
        gcp_row(3.21, "Invoice", cost_type="tax", sku=tax, **_INVOICE),
        gcp_row(0.004, "Invoice", cost_type="rounding_error", sku=tax, **_INVOICE),
        gcp_row(-0.1, adjustment_info={"id": "adj-1", "type": "USAGE_CORRECTION",
                                       "mode": "COMPLETE_NEGATION"}),
    ]  # fmt: skip


def gcp_export(
    client: bigquery.Client, table: str, rows: list[dict[str, Any]], *, detailed: bool = True
) -> None:
    """The export, partitioned by the time of its export, with these rows."""
    columns = DETAILED_COLUMNS if detailed else COLUMNS
    names = {column.name for column in columns}
    rows = [{name: value for name, value in row.items() if name in names} for row in rows]
    made = bigquery.Table(table, schema=[column.bigquery_field() for column in columns])
    made.time_partitioning = bigquery.TimePartitioning(type_="DAY")
    client.create_table(made, exists_ok=True)
    config = bigquery.LoadJobConfig(schema=made.schema, write_disposition="WRITE_TRUNCATE")
    client.load_table_from_json(rows, f"{table}$20251116", job_config=config).result()


# --- CUR 2.0 and cost details ---------------------------------------------------------------------


def cur_row(number: int, kind: str, cost: str, **changes: Any) -> dict[str, Any]:
    """A line item of CUR 2.0, an hour of EC2 unless it says otherwise."""
    row: dict[str, Any] = {
        "identity_line_item_id": f"item-{number}",
        "bill_billing_period_start_date": "2025-11-01T00:00:00Z",
        "bill_billing_period_end_date": "2025-12-01T00:00:00Z",
        "bill_billing_entity": "AWS",
        "bill_invoicing_entity": "Amazon Web Services EMEA SARL",
        "bill_payer_account_id": "111122223333",
        "bill_payer_account_name": "Payer",
        "line_item_line_item_type": kind,
        "line_item_currency_code": "USD",
        "line_item_unblended_cost": cost,
        "line_item_usage_account_id": "444455556666",
        "line_item_usage_account_name": "Production",
        "line_item_usage_start_date": "2025-11-15T07:00:00Z",
        "line_item_usage_end_date": "2025-11-15T08:00:00Z",
        "line_item_product_code": "AmazonEC2",
        "line_item_line_item_description": "$0.096 per On Demand Linux m5.large",
        "line_item_legal_entity": "Amazon Web Services EMEA SARL",
        "product": [{"key": "product_name", "value": "Amazon Elastic Compute Cloud"}],
    }
    return row | changes


_USED = {
    "line_item_usage_amount": "1", "line_item_usage_type": "EUC1-BoxUsage:m5.large",
    "line_item_unblended_rate": "0.115", "pricing_public_on_demand_cost": "0.115",
    "pricing_public_on_demand_rate": "0.115", "pricing_unit": "Hrs", "pricing_rate_code": "R.1.2",
    "product_sku": "SKU1", "product_region_code": "eu-central-1",
    "product_location": "EU (Frankfurt)", "product_product_family": "Compute Instance",
    "product_instance_type": "m5.large", "product_instance_family": "General purpose",
    "line_item_resource_id": "i-0123456789", "line_item_availability_zone": "eu-central-1a",
    "resource_tags": [{"key": "user_team", "value": 'bl"ue'},
                      {"key": "aws_createdBy", "value": "x"}],
}  # fmt: skip
RESERVATION = "arn:aws:ec2:eu-central-1:111122223333:reserved-instances/r-1"
PLAN = "arn:aws:savingsplans::111122223333:savingsplan/p-1"


def cur_rows() -> list[dict[str, Any]]:
    """A month with every kind of line item that AWS documents."""
    ri = {"reservation_reservation_a_r_n": RESERVATION}
    plan = {
        "savings_plan_savings_plan_a_r_n": PLAN,
        "savings_plan_offering_type": "ComputeSavingsPlans",
    }
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("Usage", "0.1150000001", _USED),
        ("Usage", "0.023000000000000007", {
            **_USED, "line_item_product_code": "AmazonS3", "product": []}),
        ("DiscountedUsage", "0", {**_USED, **ri, "reservation_effective_cost": "0.071"}),
        ("RIFee", "51.12", {
            **ri, "line_item_usage_amount": "720", "line_item_unblended_rate": "0.071",
            "pricing_unit": "Hrs", "line_item_usage_type": "EUC1-HeavyUsage:m5.large",
            "reservation_unused_recurring_fee": "1.42", "reservation_unused_quantity": "20"}),
        ("Fee", "300", {**ri, "line_item_usage_amount": "1", "line_item_usage_type": "Upfront"}),
        ("SavingsPlanCoveredUsage", "0.115", {
            **_USED, **plan, "savings_plan_savings_plan_effective_cost": "0.083"}),
        ("SavingsPlanNegation", "-0.115", plan),
        ("SavingsPlanRecurringFee", "72", {
            **plan, "line_item_usage_amount": "720", "line_item_usage_type": "ComputeSP",
            "savings_plan_total_commitment_to_date": "72", "savings_plan_used_commitment": "70.5"}),
        ("Tax", "9.87", {"line_item_tax_type": "VAT", "product": []}),
        ("Credit", "-5.005", {}),
        ("Refund", "-1.1", {"line_item_usage_type": "EUC1-BoxUsage:m5.large"}),
        ("EdpDiscount", "-0.3", {}),
    ]  # fmt: skip
    return [cur_row(number, kind, cost, **more) for number, (kind, cost, more) in enumerate(kinds)]


def azure_details() -> list[dict[str, Any]]:
    """Lines of a cost details file of an enterprise agreement, every value a text."""
    line = {
        "SubscriptionId": "e18e1552-c6dd-45d1-973c-999999999999",
        "SubscriptionName": "sub-example",
        "ResourceLocation": "Central US",
        "Date": "11/2/2025",
        "ProductName": "Virtual Machines DSv2 Series - DS4 v2 Spot Hours - US Central",
        "MeterCategory": "Virtual Machines",
        "MeterSubCategory": "DSv2 Series VM",
        "MeterId": "f123fd0f-e06a-58cb-8aae-d3ff7d50ee57",
        "MeterName": "DS4 v2 Spot",
        "UnitOfMeasure": "1 Hour",
        "Quantity": "0.433342",
        "CostInBillingCurrency": "0.0353618464902",
        "ResourceId": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/"
        "virtualMachines/vm-1",
        "ResourceName": "vm-1",
        "Tags": '"tagA": "valueA","tagB": "value B"',
        "UnitPrice": "0.1",
        "PayGPrice": "0.40000",
        "PublisherType": "Azure",
        "PublisherName": None,
        "ChargeType": "Usage",
        "Frequency": "UsageBased",
        "PricingModel": "Spot",
        "BillingAccountId": "12345678",
        "BillingAccountName": "Example LTD.",
        "BillingCurrencyCode": "CAD",
        "BillingPeriodStartDate": "11/1/2025",
        "BillingPeriodEndDate": "11/30/2025",
        "PartNumber": "ABC-1234",
    }
    refund = {"ChargeType": "Refund", "Frequency": "OneTime", "CostInBillingCurrency": "-2.5E0",
              "BillingCurrencyCode": "EUR", "ResourceId": None, "Tags": None, "Quantity": "1",
              "PricingModel": "OnDemand"}  # fmt: skip
    other_month = {"BillingPeriodStartDate": "10/1/2025", "Date": "10/9/2025"}
    return [line, line | refund, line | other_month]


def texts(client: bigquery.Client, table: str, rows: list[dict[str, Any]]) -> None:
    """A table as a CSV file without a schema is loaded: every column a STRING."""
    made = bigquery.Table(table, schema=[bigquery.SchemaField(name, "STRING") for name in rows[0]])
    client.create_table(made)
    config = bigquery.LoadJobConfig(schema=made.schema)
    client.load_table_from_json(rows, table, job_config=config).result()


def focus_row(cost: str, **changes: Any) -> dict[str, Any]:
    """A line item of FOCUS 1.2."""
    row: dict[str, Any] = {
        "BilledCost": cost, "EffectiveCost": cost, "ListCost": cost, "ContractedCost": cost,
        "BillingAccountId": "123", "BillingCurrency": "USD",
        "BillingPeriodStart": "2025-11-01T00:00:00Z", "BillingPeriodEnd": "2025-12-01T00:00:00Z",
        "ChargePeriodStart": "2025-11-15T00:00:00Z", "ChargePeriodEnd": "2025-11-16T00:00:00Z",
        "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
        "InvoiceIssuerName": "An issuer", "ProviderName": "A provider",
        "PublisherName": "A publisher", "ServiceName": "Machines", "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
    }  # fmt: skip
    return row | changes


def landed(client: bigquery.Client, table: str, schema: str, rows: list[dict[str, Any]]) -> None:
    """A table as the processors that fetch leave it."""
    wanted = load_table(schema)
    made = bigquery.Table(table, schema=[column.as_field() for column in wanted.fields])
    assert wanted.time_partitioning
    made.time_partitioning = bigquery.TimePartitioning(
        type_=wanted.time_partitioning.type, field=wanted.time_partitioning.field
    )
    client.create_table(made, exists_ok=True)
    config = bigquery.LoadJobConfig(schema=made.schema, write_disposition="WRITE_TRUNCATE")
    client.load_table_from_json(rows, table, job_config=config).result()
