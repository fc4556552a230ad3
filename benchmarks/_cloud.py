"""A local cloud for a benchmark: servers on free ports, in memory, provisioned and bootstrapped."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from infra import topology
from infra.local import provision
from infra.local.serving import start_service
from tests.conformance.bigquery.servers import start_server

PROJECT = "convergence-local"


@contextmanager
def local_cloud() -> Iterator[dict[str, str]]:
    """The environment of a function in it; this process has it too, for as long as it runs."""
    with ExitStack() as running:
        bigquery = start_server()
        running.callback(bigquery.stop)
        address = {}
        for name in ("pubsub", "kms", "secrets"):
            service = start_service(name, host="127.0.0.1", port=0, state=None)
            running.callback(service.stop)
            address[name] = f"127.0.0.1:{service.port}"
        secrets = f"projects/{PROJECT}/secrets"
        keys = f"projects/{PROJECT}/locations/us/keyRings/convergence/cryptoKeys"
        environment = {
            "GCP_PROJECT_ID": PROJECT,
            "BIGQUERY_EMULATOR_HOST": bigquery.url,
            "PUBSUB_EMULATOR_HOST": address["pubsub"],
            "KMS_EMULATOR_HOST": address["kms"],
            "SECRET_MANAGER_EMULATOR_HOST": address["secrets"],
            "KMS_KEY_NAME": f"{keys}/tenant-secrets",
            "API_KEY_CHECKSUM_SECRET": f"{secrets}/api-key-checksum/versions/latest",
            "ADMIN_API_KEY_SECRET": f"{secrets}/admin-api-key/versions/latest",
            "LOG_LEVEL": "ERROR",
        }
        os.environ.update(environment)
        deployed = topology.load(topology.DEFAULT_PATH).model_copy(update={"subscriptions": {}})
        provision.provision(deployed, PROJECT, {})
        from infra import bootstrap

        bootstrap.apply()
        yield environment
