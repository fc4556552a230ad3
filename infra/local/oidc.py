"""Google's identity tokens, signed with a key of this process: of pushes and of scheduled jobs."""

import hashlib
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from google.auth import crypt, jwt

TOKEN_SECONDS = 3600
REUSE_SECONDS = 1800
"""A caller may send a token that is up to an hour old; ours are at most this old."""
_CERTIFICATE_DAYS = 365


class TokenIssuer:
    """Makes `Authorization: Bearer` tokens with the claims of Google's service accounts."""

    def __init__(self) -> None:
        self.key_id = uuid.uuid4().hex
        """Another one after every start, so that nobody verifies with a certificate of before."""
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    @property
    def public_key(self) -> str:
        """PEM of the key that verifies the tokens."""
        from cryptography.hazmat.primitives import serialization

        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @cached_property
    def certificates(self) -> dict[str, str]:
        """Key ID → X.509 PEM, as https://www.googleapis.com/oauth2/v1/certs answers."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import NameOID

        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local token issuer")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
            .sign(self._key, hashes.SHA256())
        )
        return {self.key_id: certificate.public_bytes(serialization.Encoding.PEM).decode()}

    def token(self, email: str, audience: str) -> str:
        """A token of the service account `email` for `audience`, at most half an hour old."""
        issued, token = self._tokens.get((email, audience), (0.0, ""))
        if time.time() - issued > REUSE_SECONDS:
            issued = time.time()
            token = self._signed(email, audience, int(issued))
            self._tokens[email, audience] = (issued, token)
        return token

    def _signed(self, email: str, audience: str, issued: int) -> str:
        subject = _subject(email)
        claims = {
            "aud": audience,
            "azp": subject,
            "email": email,
            "email_verified": True,
            "exp": issued + TOKEN_SECONDS,
            "iat": issued,
            "iss": "https://accounts.google.com",
            "sub": subject,
        }
        token: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return token.decode()

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def _signer(self) -> Any:
        from cryptography.hazmat.primitives import serialization

        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return crypt.RSASigner.from_string(  # type: ignore[no-untyped-call]
            pem.decode(), key_id=self.key_id
        )


def _subject(email: str) -> str:
    """A stable number of 21 digits, as Google's account IDs are."""
    digest = int.from_bytes(hashlib.sha256(email.encode()).digest()[:8], "big")
    return f"1{digest % 10**20:020}"
