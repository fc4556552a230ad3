"""Credentials as tenants send them; every secret in them is made up."""

from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

UUID = "1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CLIENT_SECRET = "Q8~hush-hush-Q8~hush-hush-Q8~hush"
EXTERNAL_ID = "external-id-7f3b9c"
_AUDIENCE = (
    "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/acme-pool"
    "/providers/acme-oidc"
)


@cache
def private_key(bits: int = 2048) -> str:
    """An RSA key in PEM."""
    key = rsa.generate_private_key(65537, bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def elliptic_key() -> str:
    """A key in PEM that is no RSA key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(**changes: Any) -> dict[str, Any]:
    """The JSON key of a service account, as Google's console hands it out."""
    return {
        "type": "service_account",
        "project_id": "acme-billing-1",
        "private_key_id": "0123456789abcdef0123456789abcdef01234567",
        "private_key": private_key(),
        "client_email": "reader@acme-billing-1.iam.gserviceaccount.com",
        "client_id": "110000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/reader",
        "universe_domain": "googleapis.com",
        **changes,
    }


def workload_identity(**changes: Any) -> dict[str, Any]:
    """Workload identity federation with a token from a URL."""
    return {
        "type": "external_account",
        "audience": _AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-"
        "/serviceAccounts/reader@acme-billing-1.iam.gserviceaccount.com:generateAccessToken",
        "credential_source": {
            "url": "https://tokens.acme.example/now",
            "headers": {"Authorization": "hush"},
            "format": {"type": "json", "subject_token_field_name": "token"},
        },
        **changes,
    }


def aws_role(tenant_id: str = "acme_corp", **changes: Any) -> dict[str, Any]:
    """A role to assume, which trusts the service in the name of the tenant alone."""
    role = "arn:aws:iam::123456789012:role/billing/CostReader"
    return {"role_arn": role, "external_id": f"{tenant_id}:{EXTERNAL_ID}", **changes}


def aws_keys(**changes: Any) -> dict[str, Any]:
    """An access key."""
    return {
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "secret_access_key": SECRET_KEY,
        "region": "eu-central-1",
        **changes,
    }


def azure_secret(**changes: Any) -> dict[str, Any]:
    """An application with its secret."""
    return {"tenant_id": UUID, "client_id": UUID, "client_secret": CLIENT_SECRET, **changes}


def azure_federated(**changes: Any) -> dict[str, Any]:
    """An application that trusts another issuer."""
    trusted = {"issuer": "https://tokens.acme.example", "subject": "convergence"}
    return {"tenant_id": UUID, "client_id": UUID, "federated_token": trusted, **changes}
