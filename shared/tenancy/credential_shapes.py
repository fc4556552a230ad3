"""The shapes of provider credentials and what each field must look like.

What is checked is what can be known without asking the provider: that every field is there and
looks as the provider writes it, that a private key is one, and that URLs lead to the provider only,
since an executor will one day send a secret there.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from shared.models import Model
from shared.tenancy.credential_views import Provider

PROVIDERS: tuple[Provider, ...] = ("GCP", "AWS", "AZURE")
_LEAST_RSA_BITS = 2048
_HOST = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_PRIVATE_ENDINGS = (".internal", ".local", ".localhost")


def _like(pattern: str, problem: str) -> AfterValidator:
    """Refuse a text that is not wholly of `pattern`, with a sentence of ours."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


def _google_url(text: str) -> str:
    """An https URL of Google's APIs: whoever names the host is sent what is signed or exchanged."""
    parts = _split(text)
    host = parts.hostname or ""
    is_google = host.endswith(".googleapis.com") or host == "accounts.google.com"
    if parts.scheme != "https" or parts.netloc != host or not is_google:
        raise ValueError("must be an https URL of googleapis.com, as in the file from Google")
    return text


def _public_url(text: str) -> str:
    parts = _split(text)
    host = parts.hostname or ""
    is_public = _HOST.fullmatch(host) and not host.endswith(_PRIVATE_ENDINGS)
    if parts.scheme != "https" or parts.netloc != host or not is_public:
        raise ValueError("must be an https URL with a public host name, without user or port")
    return text


def _split(text: str) -> Any:
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("must be a URL") from None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        problem = "must be a UUID such as 72f988bf-86f1-41af-91ab-2d7cd011db47"
        raise ValueError(problem) from None


def _private_key(text: str) -> str:
    """The text, if it is an RSA key in PEM; the parser's own words might quote it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        problem = "must be the RSA private key in PEM, with its line breaks as \\n"
        raise ValueError(problem)  # noqa: TRY004 - pydantic takes ValueError for a finding
    if key.key_size < _LEAST_RSA_BITS:
        raise ValueError(f"must be an RSA key of at least {_LEAST_RSA_BITS} bits")
    return text


GoogleUrl = Annotated[str, AfterValidator(_google_url)]
AzureId = Annotated[str, AfterValidator(_uuid)]
AwsRegion = Annotated[
    str, _like(r"[a-z]{2}(-[a-z]{2,10}){1,2}-[0-9]{1,2}", "must be a region such as eu-central-1")
]


class Shape(Model):
    """What every shape has: which provider, which kind, and what of it is no secret."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: ClassVar[str]

    def context(self) -> dict[str, str]:
        """What may be shown of it, to recognise it by."""
        return {}

    def problems_of_owner(self, tenant_id: str) -> dict[str, str]:
        """Field → why these credentials cannot be the tenant's."""
        del tenant_id  # most credentials prove by what is in them whose they are
        return {}


class GcpServiceAccountKey(Shape):
    """A service account's JSON key, as Google's console hands it out."""

    kind: ClassVar[str] = "service_account_key"

    type: Literal["service_account"]
    project_id: Annotated[
        str,
        _like(
            r"([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]",
            "must be a project ID such as acme-billing-1",
        ),
    ]
    private_key_id: Annotated[
        str, _like(r"[0-9A-Za-z]{8,64}", "must be the key's ID: 8 to 64 letters and digits")
    ] = Field(repr=False)
    private_key: Annotated[str, AfterValidator(_private_key)] = Field(
        repr=False, max_length=10_000, description="RSA key in PEM."
    )
    client_email: Annotated[
        str,
        _like(
            r"[a-z0-9][a-z0-9.-]{0,100}@[a-z0-9.-]{1,150}\.gserviceaccount\.com",
            "must be a service account such as reader@acme-billing-1.iam.gserviceaccount.com",
        ),
    ]
    token_uri: GoogleUrl
    client_id: Annotated[str, _like(r"[0-9]{1,32}", "must be digits")] | None = None
    auth_uri: GoogleUrl | None = None
    auth_provider_x509_cert_url: GoogleUrl | None = None
    client_x509_cert_url: GoogleUrl | None = None
    universe_domain: Literal["googleapis.com"] | None = None

    def context(self) -> dict[str, str]:
        """Project and account."""
        return {"project_id": self.project_id, "client_email": self.client_email}


class TokenFormat(Shape):
    """How to read the answer of the token's URL."""

    type: Literal["text", "json"]
    subject_token_field_name: str | None = Field(default=None, min_length=1, max_length=100)


class TokenUrl(Shape):
    """Where the subject token comes from. Files and programs of the service's host are refused."""

    url: Annotated[str, AfterValidator(_public_url)] = Field(max_length=2000)
    headers: (
        dict[
            Annotated[str, _like(r"[A-Za-z0-9-]{1,100}", "must be the name of a header")],
            Annotated[str, _like(r"[ -~]{0,4000}", "must be printable ASCII")],
        ]
        | None
    ) = Field(default=None, max_length=20, repr=False)
    format: TokenFormat | None = None


_AUDIENCE = (
    r"//iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools"
    r"/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
_IMPERSONATION = (
    r"https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts"
    r"/[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com:generateAccessToken"
)


class GcpWorkloadIdentity(Shape):
    """Workload identity federation. Without `credential_source` the service's own token counts."""

    kind: ClassVar[str] = "workload_identity"

    type: Literal["external_account"]
    audience: Annotated[
        str,
        _like(
            _AUDIENCE,
            "must name a provider: //iam.googleapis.com/projects/123/locations/global"
            "/workloadIdentityPools/my-pool/providers/my-provider",
        ),
    ]
    subject_token_type: Literal[
        "urn:ietf:params:oauth:token-type:jwt",
        "urn:ietf:params:oauth:token-type:id_token",
        "urn:ietf:params:oauth:token-type:saml2",
    ]
    token_url: GoogleUrl
    service_account_impersonation_url: (
        Annotated[
            str,
            _like(
                _IMPERSONATION,
                "must be the generateAccessToken URL of a service account at"
                " https://iamcredentials.googleapis.com",
            ),
        ]
        | None
    ) = None
    credential_source: TokenUrl | None = None
    quota_project_id: (
        Annotated[str, _like(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "must be a project ID")] | None
    ) = None
    universe_domain: Literal["googleapis.com"] | None = None

    def context(self) -> dict[str, str]:
        """The provider of identities."""
        return {"audience": self.audience}


class AwsRole(Shape):
    """A role to assume; the external ID keeps others from having us assume it.

    It begins with the tenant's ID and a colon, which no tenant ID holds: whoever learns another
    tenant's role and external ID cannot store them as its own, so AWS never compares them for it
    (the confused deputy of AWS's IAM guide, section "Access to AWS accounts owned by third
    parties").
    """

    kind: ClassVar[str] = "role_arn"

    role_arn: Annotated[
        str,
        _like(
            r"arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}",
            "must be a role such as arn:aws:iam::123456789012:role/CostReader",
        ),
    ]
    external_id: Annotated[
        str,
        _like(
            r"[\w+=,.@:/-]{2,1224}", "must be 2 to 1224 letters, digits and characters of +=,.@:/-"
        ),
    ] = Field(repr=False)
    region: AwsRegion | None = None

    def context(self) -> dict[str, str]:
        """Role and account."""
        return {"role_arn": self.role_arn, "account_id": self.role_arn.split(":")[4]}

    def problems_of_owner(self, tenant_id: str) -> dict[str, str]:
        """The external ID is of another tenant, or of nobody."""
        if self.external_id.startswith(f"{tenant_id}:"):
            return {}
        problem = (
            f"must begin with {tenant_id}: and go on with a word of your choice, as must the"
            " sts:ExternalId in the role's trust policy; so no other tenant can have it assumed"
        )
        return {"external_id": problem}


class AwsAccessKeys(Shape):
    """An access key of a user, or a temporary one with its session token."""

    kind: ClassVar[str] = "access_key"

    access_key_id: Annotated[
        str,
        _like(r"(AKIA|ASIA)[A-Z0-9]{16}", "must be AKIA or ASIA and 16 capital letters and digits"),
    ] = Field(repr=False)
    secret_access_key: Annotated[
        str, _like(r"[A-Za-z0-9/+]{40}", "must be the 40 characters that AWS showed once")
    ] = Field(repr=False)
    session_token: (
        Annotated[
            str, _like(r"[A-Za-z0-9/+=_-]{16,4096}", "must be the session token as AWS gave it")
        ]
        | None
    ) = Field(default=None, repr=False, description="Required with a temporary key (ASIA...).")
    region: AwsRegion | None = None

    @model_validator(mode="after")
    def _temporary_keys_have_a_token(self) -> "AwsAccessKeys":
        if self.access_key_id.startswith("ASIA") and self.session_token is None:
            raise ValueError("a temporary key (ASIA...) needs its session_token")
        return self

    def context(self) -> dict[str, str]:
        """The end of the key's ID."""
        return {"access_key_id": f"...{self.access_key_id[-4:]}"}


class _AzureApplication(Shape):
    tenant_id: AzureId = Field(description="Directory (tenant) ID.")
    client_id: AzureId = Field(description="Application (client) ID.")
    subscription_id: AzureId | None = None

    def context(self) -> dict[str, str]:
        """Directory, application and subscription."""
        shown = {"azure_tenant_id": self.tenant_id, "client_id": self.client_id}
        return shown | ({"subscription_id": self.subscription_id} if self.subscription_id else {})


class AzureClientSecret(_AzureApplication):
    """An application with a client secret."""

    kind: ClassVar[str] = "client_secret"

    client_secret: Annotated[
        str, _like(r"[!-~]{8,256}", "must be the secret's value: 8 to 256 characters, no spaces")
    ] = Field(repr=False)


class FederatedToken(Shape):
    """Which tokens the application trusts, as in its federated credential."""

    issuer: Annotated[str, AfterValidator(_public_url)] = Field(max_length=600)
    subject: str = Field(min_length=1, max_length=600)
    audience: str = Field(default="api://AzureADTokenExchange", min_length=1, max_length=600)


class AzureFederated(_AzureApplication):
    """An application that trusts tokens of another issuer."""

    kind: ClassVar[str] = "federated_token"

    federated_token: FederatedToken


SHAPES: Mapping[Provider, tuple[type[Shape], ...]] = {
    "GCP": (GcpServiceAccountKey, GcpWorkloadIdentity),
    "AWS": (AwsRole, AwsAccessKeys),
    "AZURE": (AzureClientSecret, AzureFederated),
}
