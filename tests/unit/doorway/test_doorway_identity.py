"""One authority for each data folder."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from jupyter_offload.doorway import identity


def test_whoever_is_first_makes_it_and_all_others_take_it(own: Path) -> None:
    made: list[bytes] = []
    begin = threading.Barrier(8)

    def make() -> None:
        begin.wait()
        made.append(identity.authority().pem)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    folder = own / "data" / "offload" / "door"
    assert [p.name for p in folder.iterdir()] == ["authority.pem"]
    assert stat.S_IMODE((folder / "authority.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_it_signs_for_its_own_door_only(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = identity.authority()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(own / "of-another"))
    other = identity.authority()
    assert mine.certificate.subject != other.certificate.subject
    guest = x509.load_pem_x509_certificate(mine.guest())
    guest.verify_directly_issued_by(mine.certificate)
    with pytest.raises((ValueError, InvalidSignature)):
        guest.verify_directly_issued_by(other.certificate)
    assert b"PRIVATE KEY" not in mine.pem


def test_a_guest_is_no_door_and_a_door_no_guest(own: Path) -> None:
    authority = identity.authority()
    for pem, purpose in ((authority.door(), "serverAuth"), (authority.guest(), "clientAuth")):
        shown = x509.load_pem_x509_certificate(pem)
        purposes = shown.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [p._name for p in purposes] == [purpose]
        assert not shown.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        life = shown.not_valid_after_utc - shown.not_valid_before_utc
        assert life <= identity.VALIDITY + 2 * identity._SKEW
        assert isinstance(shown.public_key(), ec.EllipticCurvePublicKey)
