"""A certificate authority of the tests' own, and the good and bad certificates that it issues."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Identity:
    """A certificate and its key, as files."""

    def __init__(self, folder: Path, name: str, certificate, key):
        self.certificate = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


class Authority:
    def __init__(self, folder: Path, name="test authority"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(self.name, self.name, self.key.public_key(), -1, 3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.certificate = folder / f"{name.replace(' ', '-')}.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, file, names=("localhost", "127.0.0.1", "::1"), days=(-1, 365)) -> Identity:
        return self._issue(file, names, days, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, file, common_name, days=(-1, 365)) -> Identity:
        return self._issue(file, (common_name,), days, ExtendedKeyUsageOID.CLIENT_AUTH)

    def self_signed(self, file, names=("localhost", "127.0.0.1")) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            self._builder(subject, subject, key.public_key(), -1, 365)
            .add_extension(_alternative_names(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Identity(self.folder, file, certificate, key)

    def client_for(self, public_key, common_name):
        """The certificate of a key that stays where it is."""
        return self._certificate(public_key, (common_name,), (-1, 365), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, file, names, days, usage) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        return Identity(self.folder, file, self._certificate(key.public_key(), names, days, usage), key)

    def _certificate(self, public_key, names, days, usage):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return (
            self._builder(subject, self.name, public_key, *days)
            .add_extension(_alternative_names(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_usage(), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @staticmethod
    def _builder(subject, issuer, public_key, first_day, last_day):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first_day))
            .not_valid_after(now + datetime.timedelta(days=last_day))
        )


def _usage(sign_certificates=False):
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=sign_certificates,
        crl_sign=sign_certificates, encipher_only=False, decipher_only=False,
    )


def _alternative_names(names):
    entries = []
    for name in names:
        try:
            entries.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(entries)
