"""The proof that a keeper has the key of its cluster's CA: a signature over the relay's challenge."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Sign = Callable[[bytes], bytes]


def message(domain: str, cluster: str, challenge: str) -> bytes:
    """Return what is signed; the domain is in it, so that no relay can use a proof at another."""
    return f"jupyter-offload relay admission 1\n{domain}\n{cluster}\n{challenge}".encode()


def sign_with(key_pem: bytes) -> Sign:
    """Return a function that signs with a private key: EC, RSA or Ed25519, PEM without a password.

    Raises:
        ValueError: it is not such a key.
    """
    key = load_pem_private_key(key_pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    raise ValueError("the CA's key is neither EC nor RSA nor Ed25519")


def verifies(key: PublicKeyTypes, signature: bytes, data: bytes) -> bool:
    """Whether a signature over ``data`` was made by the holder of this key; False for kinds of keys that are not taken."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True
