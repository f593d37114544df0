"""The reference pages name every command, option, argument and member there is."""

import argparse
import inspect
import re
from pathlib import Path

import pytest

import jupyter_offload as offload
from jupyter_offload import cli
from jupyter_offload.cli.parser import build

DOCS = Path(__file__).parents[3] / "docs" / "reference"


def commands(parser, words=()):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from commands(sub, (*words, name))
            return
    yield words, parser


def test_every_command_and_option_is_in_the_reference():
    page = (DOCS / "cli.md").read_text()
    for words, parser in commands(build()):
        assert f"`{' '.join(words)}" in page, words
        for action in parser._actions:
            for option in action.option_strings[:1]:
                assert option in page or option in ("-h", "--json"), (words, option)


@pytest.mark.parametrize("status", [cli.OK, cli.FAILED, cli.BAD_INPUT, cli.NOT_FOUND, cli.UNAVAILABLE, cli.INTERRUPTED])
def test_every_exit_status_is_in_the_reference(status):
    assert re.search(rf"^\| {status} \|", (DOCS / "cli.md").read_text(), re.MULTILINE)


def test_every_argument_and_member_is_in_the_reference():
    page = (DOCS / "notebook-api.md").read_text()
    for argument in inspect.signature(offload.new_cluster).parameters:
        assert f"| `{argument}` |" in page
    for kind in (offload.Cluster, offload.AsyncCluster):
        for member in dir(kind):
            assert member.startswith("_") or re.search(rf"`{member}[`(]", page), member
