"""What can be wrong around a configuration that is right in itself: certificate, folders, files with tokens. Blocking."""

from __future__ import annotations

import datetime
import grp
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from .config import RelayConfig
from .mistakes import BadConfig, Mistake, read_config

#: Renewal is late then, by whatever does it.
_SOON = datetime.timedelta(days=7)


def checked_config(path: Path) -> RelayConfig:
    """Return a configuration that is right, with everything there that it needs.

    Raises:
        BadConfig: it is not.
    """
    config = read_config(path)
    if mistakes := look(config):
        raise BadConfig(path, mistakes)
    return config


def look(config: RelayConfig) -> list[Mistake]:
    """Return what keeps a relay with this configuration from working."""
    return [*_certificate(config), *_state_dir(config.state_dir), *_sockets(config), *_files(config)]


def soon(config: RelayConfig) -> list[Mistake]:
    """Return what will be wrong soon."""
    leaf = _leaf(config)
    if leaf is None:
        return []
    left = leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if not datetime.timedelta() < left < _SOON:
        return []
    return [Mistake("certificate_file", f"It expires on {leaf.not_valid_after_utc:%Y-%m-%d}.", "Renew it.")]


def certificate_end(config: RelayConfig) -> float:
    """Return when the certificate in the file expires, in seconds since the epoch; 0 if there is none."""
    leaf = _leaf(config)
    return leaf.not_valid_after_utc.timestamp() if leaf is not None else 0.0


def covers(certificate: x509.Certificate, domain: str) -> bool:
    """Whether a certificate is for this name, by itself or by a wildcard."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return domain in known or f"*.{domain.partition('.')[2]}" in known


def _certificate(config: RelayConfig) -> Iterator[Mistake]:
    chain, key = config.certificate_file, config.key_file
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    except OSError as error:  # also ssl.SSLError
        if isinstance(error, ssl.SSLError):
            why = f"{chain} and {key or 'itself'} are no certificate with its key: {error.reason or error}."
        else:
            unreadable = next((f for f in (chain, key) if f is not None and not os.access(f, os.R_OK)), chain)
            why = f"{unreadable} cannot be read: {error.strerror}."
        yield Mistake("certificate_file", why, "Put PEM files there that the relay's user can read.")
        return
    leaf = _leaf(config)
    if leaf is None:
        return
    if not covers(leaf, config.domain):
        yield Mistake("certificate_file", f"It is no certificate of {config.domain}.",
                      "Get one with this name among its DNS names, or change domain.")  # fmt: skip
    if leaf.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        yield Mistake("certificate_file", f"It expired on {leaf.not_valid_after_utc:%Y-%m-%d}.", "Renew it.")


def _leaf(config: RelayConfig) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(config.certificate_file.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _state_dir(folder: Path) -> Iterator[Mistake]:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Mistake("state_dir", f"{there} is no folder that the relay can write to.",
                      f"Make {folder} and give it to the relay's user.")  # fmt: skip


def _sockets(config: RelayConfig) -> Iterator[Mistake]:
    paths = {}
    if config.unix_socket is not None:
        paths["unix_socket.path"] = config.unix_socket.path
        if config.unix_socket.group is not None:
            try:
                grp.getgrnam(config.unix_socket.group)
            except KeyError:
                yield Mistake("unix_socket.group", f"There is no group {config.unix_socket.group!r}.", "Make it.")
    if config.metrics is not None and config.metrics.address.startswith("/"):
        paths["metrics.address"] = Path(config.metrics.address)
    for field, path in paths.items():
        if len(os.fsencode(path)) > 100:  # the system's bound is 104 or 108
            yield Mistake(field, f"{path} is too long for a socket.", "Use at most 100 characters.")
        elif not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            yield Mistake(field, f"{path.parent} is no folder that the relay can write to.", "Make it.")


def _files(config: RelayConfig) -> Iterator[Mistake]:
    files = {}
    if config.metrics is not None:
        files["metrics.token_file"] = config.metrics.token_file
    for number, identity in enumerate(config.identities):
        for name in ("ca_file", "token_file"):
            files[f"identities[{number}].{name}"] = getattr(identity, name, None)
    for field, file in files.items():
        if file is not None and not (file.is_file() and os.access(file, os.R_OK)):
            yield Mistake(field, f"{file} cannot be read.", "Put the file there, for the relay's user to read.")
