"""Clients of AWS for one tenant's credential: an assumed role, or the tenant's own keys.

Endpoints come from the environment alone (`AWS_ENDPOINT_URL`, botocore's own variable). Nothing
else of the host's is used: no profile, no instance role.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from shared.processors.aws.failures import calling
from shared.processors.provider_credentials import ProviderCredential
from shared.secret_values import secret_value
from shared.settings import settings

DEFAULT_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-northwest-1", "aws-us-gov": "us-gov-west-1"}
"""Where a partition keeps its billing services."""
_ATTEMPTS = 4
"""Of one call, with botocore's backoff; what lasts longer is the next attempt of the step."""
_SESSION_SECONDS = 3600
"""Longest that AWS allows where one role is assumed from another, and every role's default."""

_making = Lock()


@dataclass(frozen=True)
class Access:
    """Temporary or lasting keys of a credential, and clients that use them."""

    credential: ProviderCredential
    partition: str
    region: str
    _keys: Mapping[str, str | None] = field(repr=False)
    """Arguments of a client, by botocore's names."""

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of a service, in the credential's region unless another is named."""
        return _client(service, region or self.region, self._keys)


def access(credential: ProviderCredential) -> Access:
    """What a credential opens: its role is assumed now, its keys are taken as they are.

    Raises:
        ProviderRefusedError: the role may not be assumed, or the external ID is wrong.
        SettingsError: the role's case, and AWS_IDENTITY_SECRET is not set.
        Retryable: AWS or Secret Manager does not answer.
    """
    secret = credential.secret
    if credential.kind == "access_key":
        keys = _keys(
            secret["access_key_id"], secret["secret_access_key"], secret.get("session_token")
        )
        region = secret.get("region") or DEFAULT_REGIONS["aws"]
        return Access(credential, _partition_of(region), region, keys)
    partition = secret["role_arn"].split(":")[1]
    region = secret.get("region") or DEFAULT_REGIONS[partition]
    return Access(credential, partition, region, _assumed(credential, region))


def caller(of: Access) -> str:
    """The ARN that the keys speak for; the one call of AWS that needs no permission.

    Raises:
        ProviderRefusedError: the keys are not valid.
        Retryable: AWS does not answer.
    """
    with calling("STS", of.credential):
        return str(of.client("sts").get_caller_identity()["Arn"])


def _assumed(credential: ProviderCredential, region: str) -> Mapping[str, str | None]:
    """Keys of the tenant's role, for an hour.

    The external ID is the tenant's own, so that no tenant has us assume another one's role.
    """
    identity = json.loads(secret_value(settings().require("AWS_IDENTITY_SECRET")))
    own = _keys(identity["access_key_id"], identity["secret_access_key"], None)
    with calling("STS", credential):
        found = _client("sts", region, own).assume_role(
            RoleArn=credential.secret["role_arn"],
            ExternalId=credential.secret["external_id"],
            RoleSessionName=f"convergence-{credential.tenant_id}"[:64],
            DurationSeconds=_SESSION_SECONDS,
        )["Credentials"]
    return _keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def _keys(key_id: str, secret: str, token: str | None) -> Mapping[str, str | None]:
    return {
        "aws_access_key_id": key_id,
        "aws_secret_access_key": secret,
        "aws_session_token": token,
    }


def _client(service: str, region: str, keys: Mapping[str, str | None]) -> Any:
    from botocore.config import Config

    config = Config(
        region_name=region,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
    )
    with _making:
        return _session().client(service, config=config, **keys)


@cache
def _session() -> Any:
    """Knows the services' models, no keys; clients may be made by one thread at a time."""
    from boto3 import Session

    return Session()


def _partition_of(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
