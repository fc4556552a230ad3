"""What can be said of a credential of GCP without a network."""

from shared.errors import FieldProblem
from shared.processors.credential_checks import Fields, Finding, shape_problems


def check_gcp(fields: Fields) -> Finding:
    """Check the fields, and that a service account's key signs what its public half verifies."""
    problems = shape_problems("GCP", fields)
    if not problems and fields["type"] == "service_account" and not _signs(fields["private_key"]):
        problems = (FieldProblem("/credentials/private_key", "does not sign; create a new key"),)
    return Finding("shape", problems)


def _signs(private_key: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key.encode(), password=None)
    if not isinstance(key, RSAPrivateKey):
        return False
    try:
        signature = key.sign(b"assertion", PKCS1v15(), SHA256())
        key.public_key().verify(signature, b"assertion", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
