"""What a job gets to come in through the relay, and what Dask makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dask.config
import pytest
from cryptography import x509
from distributed.security import Security

from jupyter_offload.api.problems import NotNow, Unavailable
from jupyter_offload.keeper.relay.dial_out import RelayDialOut
from jupyter_offload.keeper.relay.settings import RelayUse
from jupyter_offload.keeper.store import Record
from jupyter_offload.relay.certificates import make_cluster_certificates, make_relay_certificate
from jupyter_offload.relay.comm import security as relay_security
from jupyter_offload.relay.comm.settings import settings

NOTED: list[tuple[object, ...]] = []


@pytest.fixture
def made(tmp_path: Path, make_record: Callable[..., Record]) -> RelayDialOut:
    make_cluster_certificates(tmp_path / "cluster", "abcdef")
    ca_file, _ = make_relay_certificate(tmp_path / "relay", "relay.test")
    use = RelayUse(
        embedded=False, addresses=["relay.test:1", "other.test:2"], domain="relay.test", ca_file=str(ca_file),
        admission="https", lease_s=600, resume_s=45,
    )  # fmt: skip

    async def note(*said: object) -> None:
        NOTED.append(said)

    NOTED.clear()
    return RelayDialOut(make_record(folder=str(tmp_path / "cluster"), relay=use), use, note, note)


async def test_dask_understands_what_it_is_told(made: RelayDialOut, tmp_path: Path) -> None:
    before = time.time()
    credentials = await made.credentials("job7", 7200)
    assert credentials.host == "w-job7-"
    assert credentials.scheduler_address == "relay://scheduler"
    ((cluster, pattern, until),) = NOTED
    assert (cluster, pattern) == ("abcdef", "w-job7-*")
    assert isinstance(until, float) and until > credentials.expires_at, "clocks may differ"
    assert before + 7200 <= credentials.expires_at <= time.time() + 7200
    assert sorted(credentials.files) == ["ca.pem", "relay-ca.pem", "worker.pem"]
    assert b"PRIVATE" not in credentials.files["ca.pem"] + credentials.files["relay-ca.pem"]
    folder = tmp_path / "site"
    folder.mkdir()
    for name, content in credentials.files.items():
        (folder / name).write_bytes(content)
    with dask.config.set(dask.config.merge(dask.config.config, credentials.dask_config(str(folder)))):
        told = settings()
        assert told.addresses == (("relay.test", 1), ("other.test", 2))
        assert (told.domain, told.resume_s, told.ca_file) == ("relay.test", 45, str(folder / "relay-ca.pem"))
        security = Security()
        assert security.require_encryption
        for role in ("worker", "client"):
            assert security.get_connection_args(role)["ssl_context"] is not None
        context = security.get_listen_args("worker")["ssl_context"]
        assert relay_security.cluster_of(context)
        identity = relay_security.configured_identity("w-job7-x")
        assert relay_security.relay_context(identity, told.ca_file)
    names = x509.load_pem_x509_certificate(credentials.files["worker.pem"]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["w-job7-*"]


async def test_what_cannot_be_issued_says_why(made: RelayDialOut, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a-b' is no name of a job"):
        await made.credentials("a-b", 60)
    (tmp_path / "relay" / "ca.pem").unlink()
    with pytest.raises(Unavailable, match="authority of the relay's certificate cannot be read"):
        await made.credentials("a", 60)
    (tmp_path / "cluster" / "ca-key.pem").unlink()
    with pytest.raises(NotNow, match="is over"):
        await made.credentials("a", 60)
