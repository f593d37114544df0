"""The relay that the keeper itself runs: its configuration is one that the relay takes."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from jupyter_offload.keeper.relay.hub_file import LONGEST_LEASE_S, hub_configuration
from jupyter_offload.keeper.relay.relays import EMBEDDED_LEASE_S
from jupyter_offload.relay.hub.config import RelayConfig


def test_the_relay_takes_its_configuration_and_admits_this_user_alone() -> None:
    text = hub_configuration(Path("/data/a b"), Path("/run/r.sock"), "relay.offload.internal", "127.0.0.1", 8786)
    config = RelayConfig.model_validate(yaml.safe_load(text))
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 8786)
    assert config.certificate_file == Path("/data/a b/relay.pem")
    assert config.unix_socket is not None and config.unix_socket.mode == "0600"
    assert [identity.model_dump() for identity in config.identities] == [{"type": "unix", "allow": [os.getuid()]}]
    assert config.metrics is None
    assert config.longest_lease_s == LONGEST_LEASE_S >= EMBEDDED_LEASE_S
