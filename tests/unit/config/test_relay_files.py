"""``relay.yaml``: what it may say, and every mistake at once with line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_offload.api import locations
from jupyter_offload.keeper.relay.files import parse_configuration, read_configuration

PATH = Path("/etc/jupyter/offload/relay.yaml")


def told(text: str) -> list[str]:
    return [f"{p.field}: {p.message} {p.hint}" for p in parse_configuration(PATH, text.encode()).problems]


def test_without_a_file_nothing_is_configured(folders: Path) -> None:
    found = read_configuration()
    assert (found.path, found.facility, found.problems, found.file.embedded) == (None, None, [], None)


def test_the_most_specific_file_counts(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facility = folders / "facility"
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(facility))
    for folder, port in ((facility, 1), (folders / "config", 2)):
        (folder / "offload").mkdir(parents=True)
        (folder / "offload" / "relay.yaml").write_text(f"addresses: [a.org:{port}]\nadmission: /run/relay.sock\n")
    assert [p.exists() for p in locations.relay_files()].count(True) == 2
    used = {read_configuration().file.addresses[0]}
    (locations.relay_files()[[p.exists() for p in locations.relay_files()].index(True)]).unlink()
    used.add(read_configuration().file.addresses[0])
    assert used == {"a.org:1", "a.org:2"}


def test_a_facilitys_relay_with_what_is_left_out() -> None:
    found = parse_configuration(
        PATH, b"addresses: ['Relay.example.org:443', '[2001:db8::1]:443']\nidentity: {token_file: /a/b}\nlease_s: 2 h\n"
    )
    use = found.facility
    assert found.problems == [] and use is not None
    assert (use.domain, use.ca_file, use.admission, use.embedded) == ("relay.example.org", None, "https", False)
    assert (use.lease_s, use.resume_s) == (7200, 60)
    assert use.addresses == ["Relay.example.org:443", "[2001:db8::1]:443"]
    assert use.launch_part() == {
        "addresses": use.addresses, "domain": "relay.example.org", "ca_file": None, "resume_s": 60,
    }  # fmt: skip


def test_an_embedded_one() -> None:
    found = parse_configuration(PATH, b"embedded: {host: login.example.org}\nresume_s: 2 min\n")
    assert found.problems == [] and found.facility is None and found.file.embedded is not None
    assert (found.file.embedded.host, found.file.embedded.port, found.file.resume_s) == ("login.example.org", 0, 120)


def test_every_mistake_at_once() -> None:
    text = (
        "addresses: [relay.example.org, 'x:99999']\ndomain: Relay.Example.org\nca_file: facility.pem\nadmision: https\n"
        "identity:\n  token_file: /a\n  token_variable: A-B\nlease_s: 1\n"
    )
    said = told(text)
    for part in (
        "addresses[0] (line 1): 'relay.example.org' is not host:port. Write for example relay.example.org:443.",
        "addresses[1] (line 1): 'x:99999' is not host:port.",
        "domain (line 2): 'Relay.Example.org' is no domain name in lower case.",
        "ca_file (line 3): 'facility.pem' is no absolute path. Begin it with /.",
        "admision (line 4): There is no field 'admision' here. Did you mean admission?",
        "identity (line 5): Admission by https needs a token, and both are given.",
        "identity.token_variable (line 7): 'A-B' is no name of an environment variable.",
        "lease_s (line 8): 1 s is too short for a lease. Write at least 60, or for example 1 h.",
    ):
        assert any(s.startswith(part) for s in said), (part, said)
    assert len(said) == 8
    assert [s.partition("(line ")[2][0] for s in said] == list("11234578")
    assert parse_configuration(PATH, text.encode()).facility is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "The file is empty."),
        ("- a\n", "no fields and values"),
        ("lease_s: 2 h\n", "Neither 'addresses' nor 'embedded' is given."),
        ("addresses: [a.org:1]\n", "needs a token, and there is none"),
        ("addresses: [a.org:1]\nadmission: /run/x\nidentity: {token_file: /a}\n", "takes no token"),
        ("addresses: [a.org:1]\nidentity: {token_file: /a}\nembedded: {}\n", "'embedded' stands here too"),
        ("embedded:\n  port: 70000\n", "embedded.port (line 2): '70000' is more than the 65535 allowed."),
        ("embedded:\n  hots: a\n", "embedded.hots (line 2): There is no field 'hots' here. Did you mean host?"),
        ("addresses: [a.org:1\n", "The file is not YAML"),
        ("addresses: [a.org:1]\naddresses: [a.org:2]\nadmission: /a\n", "a second time"),
    ],
)
def test_each_mistake(text: str, part: str) -> None:
    said = told(text)
    assert any(part in s for s in said), said
    assert all("(line " in s for s in said)


def test_a_file_that_cannot_be_read(folders: Path) -> None:
    (folders / "config" / "offload" / "relay.yaml").mkdir(parents=True)
    (problem,) = read_configuration().problems
    assert "cannot be read" in problem.message
