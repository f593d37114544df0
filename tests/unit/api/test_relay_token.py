"""The token for a facility's relay goes from the session to the keeper, and to nothing that the keeper starts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jupyter_offload.api import locations, relay_token
from jupyter_offload.api.start import clean_environment
from jupyter_offload.keeper.relay.identity import read_token
from jupyter_offload.keeper.relay.problems import RelayProblem
from jupyter_offload.keeper.relay.settings import Identity


@pytest.fixture
def relay_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    (tmp_path / "x").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "x"))
    path = tmp_path / "config" / "offload" / "relay.yaml"
    path.parent.mkdir(parents=True)
    return path


def token_in(name: str = "MY_TOKEN") -> str:
    return f"addresses: [a.org:1]\nidentity: {{token_variable: {name}}}\n"


def test_each_session_hands_over_its_own(relay_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay_file.write_text(token_in())
    for token in ("first", "second"):
        monkeypatch.setenv("MY_TOKEN", token)
        relay_token.hand_over()
        assert read_token(Identity(token_variable="MY_TOKEN")) == token
    path = locations.relay_token_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.delenv("MY_TOKEN")
    relay_token.hand_over()
    assert read_token(Identity(token_variable="MY_TOKEN")) == "second", "a session without one takes none away"


def test_no_process_of_ours_has_it_in_its_environment(relay_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert clean_environment().get("MY_TOKEN") == "secret", "nobody named it"
    relay_file.write_text(token_in())
    assert "secret" not in clean_environment().values()


@pytest.mark.parametrize(
    "text", ["", "identity: 5\n", "identity: {token_variable: 5}\n", "a: [\n", "- x\n", "identity: {}\n"]
)
def test_where_none_is_named_none_is_handed_over(text: str, relay_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    relay_token.hand_over()
    relay_file.write_text(text)
    relay_token.hand_over()
    assert not locations.relay_token_path().exists()
    with pytest.raises(RelayProblem) as caught:
        read_token(Identity(token_variable="JUPYTERHUB_API_TOKEN"))
    assert "JUPYTERHUB_API_TOKEN" in caught.value.reason.message
    assert caught.value.reason.hint


def test_a_token_file_is_read_each_time_and_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "token"
    identity = Identity(token_file=str(path))
    with pytest.raises(RelayProblem, match="cannot be read"):
        read_token(identity)
    path.write_text("one\n")
    path.chmod(0o640)
    with pytest.raises(RelayProblem, match=f"chmod 600 {path}"):
        read_token(identity)
    path.chmod(0o600)
    assert read_token(identity) == "one"
    path.write_text("two")
    assert read_token(identity) == "two"
    path.write_text("\n")
    with pytest.raises(RelayProblem, match="is empty"):
        read_token(identity)
    assert read_token(None) is None
