"""`customer.onboarding`: a tenant's own dataset with its metadata tables."""

from typing import Any, ClassVar

from pydantic import Field

from shared.errors import AccessDeniedError
from shared.models import Model
from shared.processors.contract import Processor, StepContext, StepResult
from shared.settings import settings
from shared.warehouse import tables
from shared.warehouse.schemas import Relation, load_relations
from shared.warehouse.tables import Action


class MetadataTable(Model):
    """One table or view of the tenant's dataset."""

    table_name: str = Field(description="Name of the table or view.")
    schema_file: str = Field(
        description="Its file below schemas/, such as tenant/x_meta_runs.json."
    )


class Infrastructure(Model):
    """What a tenant gets."""

    gcp_project_id: str = Field(description="Must be the deployment's own project.")
    dataset_id: str = Field(description="Must be the tenant's own dataset, {tenant_id}.")
    location: str = Field(default="US", description="Location of the dataset.")
    metadata_tables: tuple[MetadataTable, ...] = Field(
        min_length=1, description="What is created in it, with whatever it reads."
    )


class OnboardingConfig(Model):
    """The step's one field."""

    config: Infrastructure = Field(description="What the tenant gets.")


class CustomerOnboarding(Processor[OnboardingConfig]):
    """Creates what is missing and leaves the rest as it is.

    Example:
        ```yaml
        - step_id: "create_infrastructure"
          ps_type: "customer.onboarding"
          config:
            gcp_project_id: "{project_id}"
            dataset_id: "{tenant_id}"
            metadata_tables:
              - {table_name: "x_meta_pipeline_runs", schema_file: "tenant/x_meta_pipeline_runs.sql"}
        ```
    """

    ps_type = "customer.onboarding"
    config_model: ClassVar[type[Model]] = OnboardingConfig
    outputs = frozenset({"dataset", "dataset_created", "tables_created"})

    def run(self, config: OnboardingConfig, context: StepContext) -> StepResult:
        """Create the dataset, labelled as the tenant's, and its tables.

        Every part compares before it creates, so a repetition completes what a crash left out.

        Raises:
            AccessDeniedError: another project or dataset than the tenant's own.
            DriftError: a table is there and is another.
            WarehouseBusyError: not now; call again.
        """
        wanted = config.config
        tenant_id = context.run.tenant_id
        if (wanted.gcp_project_id, wanted.dataset_id) != (settings().GCP_PROJECT_ID, tenant_id):
            raise AccessDeniedError(
                f"{wanted.gcp_project_id}.{wanted.dataset_id} is not the dataset of {tenant_id}:"
                " an onboarding creates {project_id}.{tenant_id} only."
            )
        dataset = tables.ensure_dataset(
            tenant_id,
            labels={tables.OWNER_LABEL: tenant_id},
            description=f"Pipelines and results of {tenant_id}",
        )
        tables.ensure(tenant_id, relations(wanted.metadata_tables))
        outputs: dict[str, Any] = {
            "dataset": f"{wanted.gcp_project_id}.{tenant_id}",
            "dataset_created": dataset.action is Action.CREATE,
            "tables_created": [table.table_name for table in wanted.metadata_tables],
        }
        return StepResult(outputs=outputs)


def relations(wanted: tuple[MetadataTable, ...]) -> list[Relation]:
    """The tables and views in the order of their creation, logs before the views over them."""
    found: dict[str, Relation] = {}
    for table in wanted:
        folder, _, name = table.schema_file.rpartition("/")
        for relation in load_relations(folder, (name,)):
            found.setdefault(relation.name, relation)
    return list(found.values())
