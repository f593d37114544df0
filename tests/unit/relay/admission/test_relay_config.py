"""The configuration file: its defaults, its mistakes, and what may be wrong around it."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from relay_desk import DOMAIN, document, make_cluster

from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.hub import preflight
from jupyter_offload.relay.hub.config import Limits, OidcIdentity, RelayConfig, prefix_of
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.mistakes import BadConfig, read_config

DEPLOY = Path(__file__).parents[4] / "deploy" / "relay"


def mistakes(folder: Path, text: str) -> dict[str, str]:
    file = folder / "relay.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig) as caught:
        read_config(file)
    return {m.field: f"{m.message} {m.remedy}" for m in caught.value.mistakes}


def test_the_limits_are_those_of_the_hub() -> None:
    assert set(Limits.model_fields) == {f.name for f in dataclasses.fields(HubLimits)}
    assert Limits().of_hub() == HubLimits()
    assert all(f.description for f in Limits.model_fields.values())


def test_durations_may_have_units(tmp_path: Path) -> None:
    said = document(tmp_path, tmp_path / "s", drain_s="2 min", longest_lease_s="1.5 h", limits={"hello_s": "250 s"})
    config = RelayConfig.model_validate(said)
    assert (config.drain_s, config.longest_lease_s, config.limits.hello_s) == (120, 5400, 250)


WRONG = """
domain: Relay.Example.Org
certificate_file: relay.pem
lisen: {port: 443}
listen: {host: "", port: 70000, reuse_port: maybe}
unix_socket: {path: /run/relay/s, mode: 660}
metrics: {address: "0.0.0.0:9464"}
identities:
  - {type: unix, allow: []}
  - {type: ldap}
  - {type: oidc, issuer: "http://id.example.org", audience: "", requires: {}}
  - {type: jupyterhub, api_url: hub}
  - {type: kubernetes, audiences: []}
quota: {clusters: many}
quotas: [{clusters: 1}]
longest_lease_s: 1 fortnight
drain_s: -1
log_level: loud
limits: {silents: 1}
"""


def test_every_mistake_is_told_with_field_value_and_remedy(tmp_path: Path) -> None:
    found = mistakes(tmp_path, WRONG)
    expected = {
        "domain": "'Relay.Example.Org' is no domain name in lower case. Write for example relay.example.org.",
        "certificate_file": "'relay.pem' is no absolute path. Begin it with /.",
        "state_dir": "It is missing. Add the line: state_dir: /var/lib/jupyter-offload-relay",
        "lisen": "There is no such field here. Did you mean listen?",
        "listen.port": "70000 is too much. Write at most 65535.",
        "listen.reuse_port": "'maybe' is neither yes nor no. Write true or false.",
        "unix_socket.mode": '660 is not a text that can stand here. Write for example mode: "0660"',
        "metrics": "anybody could read '0.0.0.0:9464'. Set token_file, or write 127.0.0.1.",
        "identities[0].allow": "The list is empty. Write at least 1 entry.",
        "identities[1]": "It does not say which type it is, or one that there is not."
        " Write type: and one of unix, jupyterhub, oidc, kubernetes.",
        "identities[2].issuer": "'http://id.example.org' is not safe from whoever is on the way. Write https://.",
        "identities[2].audience": "'' is not a text that can stand here. Write for example audience: relay.example.org",
        "identities[2].requires": "There is no such field here. Did you mean require?",
        "identities[3].api_url": "'hub' is no address of a web service. Write for example https://hub.example.org/hub/api.",
        "identities[4].audiences": "The list is empty. Write at least 1 entry.",
        "quota.clusters": "'many' is no number. Write for example clusters: 100",
        "quotas[0].identity": 'It is missing. Add the line: identity: "hub:*"',
        "longest_lease_s": "'1 fortnight' is no duration. Write seconds, or for example 30 s, 10 min, 1 h.",
        "drain_s": "-1 is too little. Write at least 0.",
        "log_level": "'loud' is not one of the choices. Write 'debug', 'info', 'warning' or 'error'.",
        "limits.silents": "There is no such field here. Did you mean silent?",
    }
    assert found == expected


@pytest.mark.parametrize(
    ("text", "word"), [("", "no lines"), ("- a\n", "no lines"), ("a: [", "not YAML"), ("a: b: c", "not YAML")]
)
def test_what_is_no_configuration_at_all(tmp_path: Path, text: str, word: str) -> None:
    assert word in mistakes(tmp_path, text)["file"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        read_config(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadConfig, match="UTF-8"):
        read_config(tmp_path / "bytes")


def test_parts_must_fit_together(tmp_path: Path) -> None:
    said = document(tmp_path, tmp_path / "s")
    for changes, word in (
        ({"unix_socket": None}, "users of this host cannot come"),
        ({"shortest_lease_s": 100, "longest_lease_s": 50}, "is more than longest_lease_s"),
    ):
        with pytest.raises(ValidationError, match=word):
            RelayConfig.model_validate(said | changes)


HUBS = [{"type": "jupyterhub", "api_url": f"https://hub{n}.test/hub/api"} for n in (1, 2)]
REALMS = [{"type": "oidc", "issuer": f"https://id.test/realms/{n}", "audience": "a"} for n in (1, 2)]


def test_users_of_two_providers_are_not_taken_for_each_other(tmp_path: Path) -> None:
    said = document(tmp_path, tmp_path / "s")
    for two in (HUBS, REALMS):
        for some in (two, [two[0] | {"realm": "one"}, two[1]]):
            if some[0]["type"] == "oidc" and "realm" in some[0]:
                continue  # the other has its host
            with pytest.raises(ValidationError, match="could be taken for each other"):
                RelayConfig.model_validate(said | {"identities": some})
        for realms in (("one", "two"), ("same", "same")):
            some = [one | {"realm": realm} for one, realm in zip(two, realms, strict=True)]
            config = RelayConfig.model_validate(said | {"identities": some})
            kind = {"jupyterhub": "hub", "oidc": "oidc"}[two[0]["type"]]
            assert [prefix_of(one) for one in config.identities] == [f"{kind}:{realm}:" for realm in realms]
    with pytest.raises(ValidationError, match="realm"):
        RelayConfig.model_validate(said | {"identities": [HUBS[0] | {"realm": "a:b"}]})


@pytest.mark.parametrize("address", ["9464", "host", ":1", "host:99999", "host:x"])
def test_addresses_of_metrics(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValidationError, match="is not host:port"):
        RelayConfig.model_validate(document(tmp_path, tmp_path / "s", metrics={"address": address}))


def test_an_issuer_stays_as_it_is() -> None:
    assert OidcIdentity(type="oidc", issuer="https://id.test/", audience="a").issuer == "https://id.test/"


def looked(folder: Path, **changes: Any) -> dict[str, str]:
    config = RelayConfig.model_validate(document(folder, folder / "s") | changes)
    return {m.field: m.message for m in preflight.look(config)}


def test_all_is_there(tmp_path: Path) -> None:
    assert looked(tmp_path) == {}


def test_certificates_that_do_not_fit(tmp_path: Path) -> None:
    assert "no certificate of relay.other" in looked(tmp_path, domain="relay.other")["certificate_file"]
    other = make_cluster().issue("w-a", tmp_path)
    assert "no certificate of relay.test" in looked(tmp_path, certificate_file=str(other))["certificate_file"]
    _, right = make_relay_certificate(tmp_path / "tls", DOMAIN)
    assert "no certificate with its key" in looked(tmp_path, key_file=str(other))["certificate_file"]
    garbage = tmp_path / "garbage"
    garbage.write_text("x")
    assert "no certificate with its key" in looked(tmp_path, certificate_file=str(garbage))["certificate_file"]
    assert "cannot be read: No such file" in looked(tmp_path, key_file=str(tmp_path / "none"))["certificate_file"]
    assert right.exists()


def test_a_certificate_is_looked_at_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RelayConfig.model_validate(document(tmp_path, tmp_path / "s"))
    assert preflight.soon(config) == []

    real = datetime.datetime

    class Later(real):  # type: ignore[misc, valid-type]
        days = 0

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(days=cls.days)

    monkeypatch.setattr(preflight.datetime, "datetime", Later)
    Later.days = 3648
    assert "It expires on" in str(preflight.soon(config)[0])
    Later.days = 3660
    assert preflight.soon(config) == []
    assert "It expired on" in str(preflight.look(config)[0])


def test_wildcards_cover_one_label(tmp_path: Path) -> None:
    from cryptography import x509

    pem = make_cluster().issue("*.example.org", tmp_path).read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    assert preflight.covers(certificate, "relay.example.org")
    assert not preflight.covers(certificate, "a.relay.example.org")
    assert not preflight.covers(certificate, "example.org")


def test_folders_and_groups(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no folder" in looked(tmp_path, state_dir=str(tmp_path / "file" / "state"))["state_dir"]
    none = {"path": str(tmp_path / "none" / "s"), "group": "no-such-group"}
    found = looked(tmp_path, unix_socket=none)
    assert "no-such-group" in found["unix_socket.group"]
    assert "no folder" in found["unix_socket.path"]
    long = {"path": str(tmp_path / ("x" * 100))}
    assert "too long" in looked(tmp_path, unix_socket=long)["unix_socket.path"]


# ------------------------------------------------------------ what is delivered
def test_the_example_is_right(tmp_path: Path) -> None:
    config = read_config(DEPLOY / "relay.yaml")
    assert config.domain == "relay.example.org"


def test_everything_that_is_commented_out_in_the_example_is_right_too(tmp_path: Path) -> None:
    lines = re.sub(r"^#(?! \S)", "", (DEPLOY / "relay.yaml").read_text(), flags=re.MULTILINE)
    file = tmp_path / "relay.yaml"
    file.write_text(lines)
    config = read_config(file)
    assert {i.type for i in config.identities} == {"unix", "jupyterhub", "oidc", "kubernetes"}
    said = yaml.safe_load(file.read_text())
    assert set(said) == set(RelayConfig.model_fields), "the example shows every part"


def test_the_unit_is_right(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "jupyter-offload-relay.service"
    text = (DEPLOY / "jupyter-offload-relay.service").read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert command.endswith(" relay serve --config /etc/jupyter-offload/relay.yaml")
    unit.write_text(text.replace(command.split("=", 1)[1].split()[0], sys.executable))
    done = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    if "Failed to" in done.stderr and "unit" not in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert str(unit.name) not in done.stderr, done.stderr
