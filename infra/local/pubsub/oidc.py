"""Identity tokens of pushes: Google's claims, signed with a key of this process."""

import hashlib
import time
from functools import cached_property
from typing import Any

from google.auth import crypt, jwt

TOKEN_SECONDS = 3600
REUSE_SECONDS = 1800
"""A push may carry a token that is up to an hour old; ours are at most this old."""


class TokenIssuer:
    """Makes the `Authorization: Bearer` token of authenticated push subscriptions."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    @property
    def public_key(self) -> str:
        """PEM of the key that verifies the tokens; another one after every start."""
        from cryptography.hazmat.primitives import serialization

        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def token(self, push_config: Any) -> str:
        """The token for a push configuration that has an `oidc_token`."""
        email = push_config.oidc_token.service_account_email
        audience = push_config.oidc_token.audience or push_config.push_endpoint
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
            pem.decode(), key_id="local-pubsub"
        )


def _subject(email: str) -> str:
    """A stable number of 21 digits, as Google's account IDs are."""
    digest = int.from_bytes(hashlib.sha256(email.encode()).digest()[:8], "big")
    return f"1{digest % 10**20:020}"
