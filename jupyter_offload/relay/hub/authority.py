"""What a cluster's certificate authority must be, and the proof that whoever asks has its key."""

from __future__ import annotations

import base64
import binascii
import datetime
import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..names import fingerprint
from ..proof import message, verifies
from .problems import Problem, bad_request

_RSA_BITS = range(2048, 8193)


def authority_key(cluster: str, ca_pem: str) -> PublicKeyTypes:
    """Return the public key of the CA that a cluster is named by.

    Raises:
        Problem: ``bad-request``: it is not the certificate of that CA, no CA's at all, expired, or of a key we do not take.
    """
    if ca_pem.count("-----BEGIN ") > 1:
        raise bad_request("ca_pem: not one certificate in PEM: there are more.")
    try:
        der = ssl.PEM_cert_to_DER_cert(ca_pem.strip())
        certificate = x509.load_der_x509_certificate(der)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        key = certificate.public_key()
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    except (ValueError, UnsupportedAlgorithm) as error:
        raise bad_request(f"ca_pem: not one certificate in PEM: {error}.") from error
    if fingerprint(der) != cluster:
        raise bad_request(f"ca_pem: the fingerprint of this certificate is {fingerprint(der)}, not {cluster}.")
    if not is_authority:
        raise bad_request(
            "ca_pem: this certificate may not sign others.",
            "Give the cluster an authority of its own: basicConstraints CA:TRUE.",
        )
    if not begin <= datetime.datetime.now(datetime.UTC) < end:
        raise bad_request(
            f"ca_pem: this certificate is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC.",
            "Compare the clocks, or make a new cluster.",
        )
    if isinstance(key, rsa.RSAPublicKey) and key.key_size not in _RSA_BITS:
        raise bad_request(f"ca_pem: an RSA key of {key.key_size} bits.", "Use 2048 to 8192 bits, or EC, or Ed25519.")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise bad_request("ca_pem: the key is neither EC nor RSA nor Ed25519.", "Use EC.")
    return key


def check_proof(key: PublicKeyTypes, proof: str, domain: str, cluster: str, challenge: str) -> None:
    """See that a proof was made with the CA's key, for this relay, cluster and challenge.

    Raises:
        Problem: ``bad-proof``: it was not.
    """
    try:
        signature = base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not verifies(key, signature, message(domain, cluster, challenge)):
        raise Problem(
            403, "bad-proof", "The proof was not made with the key of this CA for this relay and this challenge.",
            f"Sign with the CA's key; the name of this relay is {domain}.",
        )  # fmt: skip
