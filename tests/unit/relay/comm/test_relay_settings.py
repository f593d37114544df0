"""What Dask's configuration says of the relay, right or wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import dask.config
import pytest

from jupyter_offload.relay.comm.settings import BadSettings, settings


def test_one_address_is_enough() -> None:
    with dask.config.set({"relay.addresses": "Relay.Example.Org:443"}):
        now = settings()
    assert now.addresses == (("Relay.Example.Org", 443),)
    assert now.domain == "relay.example.org"
    assert (now.ca_file, now.name, now.resume_s) == (None, None, 60)
    assert (now.window_bytes, now.memory_bytes) == (16 << 20, 256 << 20)


@pytest.mark.parametrize("value", ["a.org:443, [fe80::1]:8443", ["a.org:443", "[fe80::1]:8443"]])
def test_several_addresses_as_text_or_list(value) -> None:
    with dask.config.set({"relay.addresses": value, "relay.domain": "relay.test."}):
        now = settings()
    assert now.addresses == (("a.org", 443), ("fe80::1", 8443))
    assert now.domain == "relay.test"


def test_variables_do() -> None:
    code = "from jupyter_offload.relay.comm.settings import settings; print(settings())"
    env = {
        **os.environ,
        "DASK_RELAY__ADDRESSES": "a.org:443",
        "DASK_RELAY__RESUME": "2 minutes",
        "DASK_RELAY__CA_FILE": "/x.pem",
    }
    said = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "('a.org', 443)" in said
    assert "resume_s=120.0" in said
    assert "ca_file='/x.pem'" in said


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("addresses", [], r"Set relay\.addresses"),
        ("addresses", "relay.example.org", r"relay\.addresses 'relay\.example\.org' is not host:port"),
        ("addresses", "relay.example.org:0", "not host:port"),
        ("addresses", ":443", "not host:port"),
        ("addresses", "a:b", "not host:port"),
        ("resume", "soon", r"relay\.resume 'soon' is not understood\. Write it like '60s'"),
        ("resume", "-1s", r"relay\.resume '-1s' is not understood"),
        ("window", -5, r"relay\.window -5 is negative"),
        ("window", "much", r"relay\.window 'much' is not understood\. Write it like '16 MiB'"),
        ("memory", None, r"relay\.memory None is not understood"),
    ],
)
def test_mistakes_name_setting_value_and_remedy(key, value, why) -> None:
    with (
        dask.config.set({"relay.addresses": "a.org:443", f"relay.{key}": value}),
        pytest.raises(BadSettings, match=why),
    ):
        settings()


def test_transfers_are_asked_for_again_unless_the_user_says_otherwise() -> None:
    code = "import dask, jupyter_offload.relay.comm; print(dask.config.get('distributed.comm.retry.count'))"
    for given, count in ((None, 2), ("7", 7)):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DASK_")}
        env |= {"DASK_DISTRIBUTED__COMM__RETRY__COUNT": given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == str(count)
