"""Names on the relay: there and back, and what covers what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload.relay.names import (
    Kind,
    Target,
    allows,
    any_allows,
    fingerprint,
    is_fingerprint,
    is_peer_name,
    is_revoked,
    parse_server_name,
    patterns_of,
    server_name,
)

peers = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
clusters = st.binary().map(fingerprint)
ids = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
domains = st.lists(peers, min_size=1, max_size=3).map(".".join)
targets = st.one_of(
    st.builds(Target, st.sampled_from([Kind.connect, Kind.session]), peers, clusters),
    st.builds(lambda cluster: Target(Kind.listen, cluster=cluster), clusters),
    st.builds(lambda one_time_id: Target(Kind.accept, one_time_id), ids),
    st.just(Target(Kind.service)),
)


@given(targets, domains)
def test_every_target_has_a_server_name_that_leads_to_it(target: Target, domain: str) -> None:
    name = server_name(target, domain)
    assert parse_server_name(name, domain) == target
    assert parse_server_name(name.upper(), domain) == target
    assert all(len(label) <= 63 for label in name.split("."))


@given(st.text(max_size=120) | st.lists(peers | clusters | st.sampled_from("csla"), max_size=5).map(".".join), domains)
def test_any_other_name_leads_nowhere(text: str, domain: str) -> None:
    for name in (text, f"{text}.{domain}", f"{text}{domain}"):
        try:
            target = parse_server_name(name, domain)
        except ValueError:
            continue
        assert server_name(target, domain) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "relay.test.", ".relay.test", "xrelay.test", "c.relay.test", "w.c.relay.test", f"w.{'a' * 52}.x.relay.test",
        f"w.{'a' * 51}.c.relay.test", f"w.{'a' * 51}1.c.relay.test", f"-w.{'a' * 52}.c.relay.test", f"{'a' * 52}.l.other.test",
        f"{'0' * 31}.a.relay.test", f"w.w.{'a' * 52}.c.relay.test", f"w\n.{'a' * 52}.c.relay.test", f"w.{'a' * 52}..relay.test",
    ],
)  # fmt: skip
def test_near_misses_lead_nowhere(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_server_name(name, "relay.test")


@given(st.binary(max_size=200))
def test_a_fingerprint_is_a_label(der: bytes) -> None:
    assert is_fingerprint(fingerprint(der))
    assert is_peer_name(fingerprint(der))


@given(peers, peers)
def test_a_pattern_covers_what_follows_its_last_dash(start: str, rest: str) -> None:
    assert allows(f"{start}-*", f"{start}-{rest}")
    assert not allows(f"{start}-*", start)
    assert not allows(f"{start}-*", f"{start}-")
    assert not allows(f"{start}-*", f"{start}{rest}".replace("-", "") + "x")
    assert allows(start, start)
    assert not allows(start, f"{start}{rest}")


@pytest.mark.parametrize("pattern", ["*", "w*", "w-job?-*x", "[a-z]-x", ""])
def test_only_a_last_star_after_a_dash_is_one(pattern: str) -> None:
    assert not any_allows([pattern], "w-job1-a")
    assert not any_allows([pattern], "scheduler")


def test_what_is_revoked() -> None:
    assert is_revoked(["w-job1-*"], ["w-job1-*"])
    assert is_revoked(["w-job1-a"], ["w-job1-*"])
    assert is_revoked(["w-job1-a-*"], ["w-job1-*"])
    assert is_revoked(["other", "scheduler"], ["scheduler"])
    assert not is_revoked(["w-job1-*"], ["w-job1-a"])  # others of that job go on
    assert not is_revoked(["w-job10-*"], ["w-job1-*"])
    assert not is_revoked(["w-job1-*"], [])
    assert not is_revoked([], ["w-job1-*"])


def test_only_dns_names_of_a_certificate_count() -> None:
    certificate = {"subjectAltName": (("DNS", "w-a-*"), ("IP Address", "10.0.0.1"), ("DNS", "scheduler"))}
    assert patterns_of(certificate) == ("w-a-*", "scheduler")
    assert patterns_of(None) == patterns_of({}) == ()
