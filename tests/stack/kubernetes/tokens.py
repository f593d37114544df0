"""Tokens that the API server would never issue: of another key, or expired."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def signing_key(folder: Path) -> rsa.RSAPrivateKey:
    """Return the key with which the API server in a folder signs tokens."""
    key = serialization.load_pem_private_key((folder / "accounts.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def signed_anew(token: str, key: rsa.RSAPrivateKey, **claims: Any) -> str:
    """Return a token with some claims changed, signed by this key."""
    head, body, _ = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    signed = f"{head}.{_encoded(json.dumps(said | claims).encode())}"
    return f"{signed}.{_encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
