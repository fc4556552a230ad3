"""A certificate for a server on this machine, and whom its clients are to trust."""

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAYS = 30


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, as PEM."""

    content: bytes
    key: bytes

    def trusted_in(self, bundle: Path) -> None:
        """Write a file for REQUESTS_CA_BUNDLE: whoever was trusted before, and this one."""
        before = Path(os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(before.read_bytes() + b"\n" + self.content)


def certificate_for(address: str) -> Certificate:
    """A certificate of an IP address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    return Certificate(
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
