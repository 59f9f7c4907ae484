"""Keys and certificates of one API server of the sandbox: its own authority, server and operator.

Nothing outside the sandbox trusts them. Private keys are readable by their owner alone.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = dt.timedelta(days=3650)
CLOCK_SKEW: Final = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files are."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.crt"

    @property
    def server(self) -> tuple[Path, Path]:
        """The API server's certificate and key."""
        return self.directory / "server.crt", self.directory / "server.key"

    @property
    def administrator(self) -> tuple[Path, Path]:
        """Certificate and key of a member of ``system:masters``."""
        return self.directory / "admin.crt", self.directory / "admin.key"

    @property
    def service_accounts(self) -> Path:
        """The key that signs service accounts' tokens."""
        return self.directory / "service-accounts.key"


def ensure(directory: Path, address: str) -> Certificates:
    """Give the certificates in a directory; make them where they are not all there.

    `address`: the IP address that the server's certificate is for.
    """
    files = Certificates(directory)
    # The operator's certificate is written last.
    if not files.administrator[0].exists():
        _make(files, address)
    return files


def _make(files: Certificates, address: str) -> None:
    authority_key = _new_key()
    authority = _signed(
        _name("mono-repo-sandbox"),
        authority_key,
        _name("mono-repo-sandbox"),
        authority_key,
        [(x509.BasicConstraints(ca=True, path_length=0), True), (_signing(), True)],
    )
    issuer = authority.subject
    files.authority.write_bytes(_pem(authority))
    _write_key(files.service_accounts, _new_key())
    alternatives = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")]
    for (certificate_file, key_file), subject, extensions in (
        (
            files.server,
            _name("kube-apiserver"),
            [
                (x509.SubjectAlternativeName(alternatives), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            ],
        ),
        (
            files.administrator,
            _name("sandbox-administrator", "system:masters"),
            [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)],
        ),
    ):
        key = _new_key()
        _write_key(key_file, key)
        certificate = _signed(subject, key, issuer, authority_key, extensions)
        certificate_file.write_bytes(_pem(certificate))


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    """Name a subject: to Kubernetes the organization is a group, the common name a user."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _signing() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key in the form that kube-apiserver reads service accounts' keys in."""
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
