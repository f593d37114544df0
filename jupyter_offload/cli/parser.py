"""The commands and their options. Standard library only, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_EPILOG = """exit status: 0 done; 1 it failed, or something checked is unhealthy; 2 wrong usage or input; 3 no such thing;
4 not available in time; 130 interrupted"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong and where help is; as a problem document where JSON was asked for."""

    arguments: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        _Parser.arguments = list(sys.argv[1:] if args is None else args) if self.prog == _PROG else _Parser.arguments
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        hint = f"See: {self.prog} --help"
        if "--json" in _Parser.arguments:
            problem = {"title": "invalid", "status": 422, "code": "invalid", "detail": message, "hint": hint}
            print(json.dumps({"type": "about:blank"} | problem), file=sys.stderr)
        else:
            print(f"Error: {message}\n  {hint}", file=sys.stderr)
        sys.exit(2)


_PROG = "jupyter offload"


def build() -> argparse.ArgumentParser:
    """Return the parser; ``run`` of the result names the module and function that do it, ``alone`` if without a keeper."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON (the API's models)")
    top = _Parser(prog=_PROG, description="Dask clusters on any site of your facility.", epilog=_EPILOG,
                  formatter_class=argparse.RawDescriptionHelpFormatter, parents=[common])  # fmt: skip
    groups = top.add_subparsers(metavar="COMMAND", required=True)
    _sites(_group(groups, common, "sites", "places with workers"), common)
    _clusters(_group(groups, common, "clusters", "make, watch and stop clusters"), common)
    environments = _group(groups, common, "environments", "Pythons that clusters can run")
    listing = _command(environments, common, "list", "environments:list_", "list them, usable or not")
    listing.add_argument("--refresh", action="store_true", help="look again instead of answering from the cache")
    _relay(_group(groups, common, "relay", "run a relay, or look at one"), common)
    doctor = _command(groups, common, "doctor", "checks:doctor", "check the installation and say how to repair it")
    doctor.add_argument("--canary", metavar="SITE", help="run one worker at this site and report how far it comes")
    doctor.add_argument("--profile", metavar="NAME", help="worker size of the canary (default: the site's)")
    doctor.add_argument("--timeout", metavar="TIME", default="10 min", help="of waiting for it (default: 10 min)")
    _command(groups, common, "version", "checks:version", "print the release and its API version")
    return top


def _group(groups: Any, common: argparse.ArgumentParser, name: str, help_: str) -> Any:
    parser = groups.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", parents=[common])
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _command(group: Any, common: argparse.ArgumentParser, name: str, run: str, help_: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(
        name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", parents=[common]
    )
    parser.set_defaults(run=run, alone=False)
    return parser


def _sites(group: Any, common: argparse.ArgumentParser) -> None:
    _command(group, common, "list", "sites:list_", "list sites with health, capacity and profiles")
    check = _command(group, common, "check", "sites:check", "look at one site, or all, now; status 1 if unhealthy")
    check.add_argument("site", metavar="SITE", nargs="?", help="name of a site; without it all are checked")


def _clusters(group: Any, common: argparse.ArgumentParser) -> None:
    _command(group, common, "list", "clusters:list_", "list clusters, newest first")
    _new(_command(group, common, "new", "creation:new", "make a cluster and wait until it can be used"))
    _named(group, common, "show", "clusters:show", "show one cluster with its workers")
    _named(group, common, "scale", "clusters:scale", "set the number of workers; ends adaptive scaling").add_argument(
        "workers", metavar="N", type=int
    )
    _named(group, common, "adapt", "clusters:adapt", "let the number of workers follow the work").add_argument(
        "adaptive", metavar="MIN:MAX", type=_range
    )
    extend = _named(group, common, "extend", "clusters:extend", "move the end of a cluster")
    extend.add_argument("--by", metavar="TIME", help="so much later than planned now, such as '2 h'")
    extend.add_argument("--lifetime", metavar="TIME", help="the whole time from its creation; 0 = no end")
    extend.add_argument("--idle-timeout", metavar="TIME", help="how long it may do nothing; 0 = for ever")
    logs = _named(group, common, "logs", "logs:logs", "print logs, also of workers that are gone")
    logs.add_argument("source", metavar="SOURCE", nargs="?", help="one log; without it all are printed")
    logs.add_argument("--list", action="store_true", help="list which logs there are")
    logs.add_argument("--follow", "-f", action="store_true", help="go on printing until the cluster ends")
    logs.add_argument("--tail", metavar="SIZE", default="1 MiB", help="at most the end of each (default: 1 MiB)")
    _named(group, common, "timeline", "clusters:timeline", "print what happened and why")
    stop = _command(group, common, "stop", "stopping:stop", "stop clusters and wait until nothing is left")
    stop.add_argument("names", metavar="NAME", nargs="*", help="name or id of a cluster")
    stop.add_argument("--all", action="store_true", help="all that have not ended")
    stop.add_argument("--no-wait", dest="wait", action="store_false", help="ask for it and return")
    stop.add_argument("--timeout", metavar="TIME", default="5 min", help="of the waiting (default: 5 min)")
    sweep = _command(group, common, "sweep", "sweeping:sweep", "delete what is left at sites and belongs to no cluster")
    sweep.add_argument("--site", metavar="SITE", help="look at this site alone")
    sweep.add_argument("--dry-run", action="store_true", help="only list it")
    forget = _command(group, common, "forget", "stopping:forget", "remove ended clusters with their logs from the list")
    forget.add_argument("names", metavar="NAME", nargs="*", help="name or id of a cluster")
    forget.add_argument("--all", action="store_true", help="all that have ended")


def _named(group: Any, common: argparse.ArgumentParser, name: str, run: str, help_: str) -> argparse.ArgumentParser:
    parser = _command(group, common, name, run, help_)
    parser.add_argument("name", metavar="NAME", help="name or id of a cluster")
    return parser


def _new(new: argparse.ArgumentParser) -> None:
    new.add_argument("name", metavar="NAME", help="letters, digits, '.', '_' and '-', at most 40")
    new.add_argument("--site", help="where its workers run (default: local)")
    new.add_argument("--profile", help="worker size (default: the site's)")
    new.add_argument("--workers", metavar="N", type=int, help="how many (default: 2, or MIN when adaptive)")
    new.add_argument("--adaptive", metavar="MIN:MAX", type=_range, help="let the number follow the work")
    new.add_argument("--cores", metavar="N", type=int, help="threads of one worker (default: the profile's)")
    new.add_argument("--memory", metavar="SIZE", help="of one worker, such as '4 GiB' (default: the profile's)")
    new.add_argument(
        "--environment", metavar="NAME", help="kernelspec, or path of a Python (default: see environments)"
    )
    new.add_argument("--image", metavar="NAME", help="one of the site's images (default: its first)")
    new.add_argument("--idle-timeout", metavar="TIME", help="end after so long without work, such as '1 h'; 0 = never")
    new.add_argument("--lifetime", metavar="TIME", help="end so long after creation; 0 = no end")
    new.add_argument("--env", metavar="NAME=VALUE", type=_variable, action="append", default=[],
                     help="environment variable of scheduler and workers; may be repeated")  # fmt: skip
    new.add_argument("--module", metavar="MODULE", dest="modules", action="append", default=[],
                     help="imported by scheduler and workers when they start; may be repeated")  # fmt: skip
    new.add_argument("--wait", action=argparse.BooleanOptionalAction, default=True,
                     help="wait until a client can connect and the first worker is there (default)")  # fmt: skip
    new.add_argument("--timeout", metavar="TIME", default="10 min", help="of the waiting (default: 10 min)")
    new.add_argument(
        "--dry-run", action="store_true", help="check everything, show what would be submitted, start nothing"
    )


def _relay(group: Any, common: argparse.ArgumentParser) -> None:
    serve = _command(group, common, "serve", "relay:serve", "be a relay until a signal ends it")
    check_config = _command(group, common, "check-config", "relay:check_config", "look at a relay's configuration")
    for parser in (serve, check_config):
        parser.add_argument("--config", metavar="FILE", help="default: /etc/jupyter-offload/relay.yaml")
    check_config.add_argument("--schema", action="store_true", help="print what it may say, as JSON Schema")
    check = _command(group, common, "check", "relay:check", "look at a relay from here; status 1 if it cannot be used")
    check.add_argument("address", metavar="ADDRESS", help="host:port")
    check.add_argument("--domain", metavar="NAME", help="name in its certificate (default: the host)")
    check.add_argument("--ca-file", metavar="FILE", help="PEM of its authority (default: those of the system)")
    for parser in (serve, check_config, check, *_relay_by_hand(group, common)):
        parser.set_defaults(alone=True)


def _relay_by_hand(group: Any, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Add what somebody needs who starts scheduler and workers himself."""
    credentials = _command(group, common, "credentials", "relay_cluster:credentials",
                           "make an authority, certificates and Dask configuration for a cluster")  # fmt: skip
    admit = _command(group, common, "admit", "relay_cluster:admit", "have a relay let a cluster in while this runs")
    revoke = _command(group, common, "revoke", "relay_cluster:revoke", "have a relay refuse a job of a cluster")
    bundle = _command(group, common, "bundle", "relay_cluster:bundle",
                      "write the file that workers without this package need on PYTHONPATH")  # fmt: skip
    credentials.add_argument("folder", metavar="FOLDER", help="where they are kept; what is there stays")
    credentials.add_argument("address", metavar="ADDRESS", help="host:port of the relay")
    credentials.add_argument("--job", metavar="JOB", action="append", default=[],
                             help="make a certificate for the workers of this job; may be repeated")  # fmt: skip
    credentials.add_argument(
        "--days", metavar="N", type=float, default=30.0, help="how long a job's is valid (default: 30)"
    )
    for parser in (admit, revoke):
        parser.add_argument("folder", metavar="FOLDER", help="what the command credentials made")
        parser.add_argument("address", metavar="ADDRESS", help="host:port of the relay, or path of its unix socket")
        parser.add_argument("--token-file", metavar="FILE", help="says who you are, where the unix socket does not")
    admit.add_argument(
        "--lease", metavar="SECONDS", type=float, default=600.0, help="asked for at a time (default: 600)"
    )
    revoke.add_argument("job", metavar="JOB", help="as it was given to the command credentials")
    for parser in (credentials, admit, revoke):
        parser.add_argument("--domain", metavar="NAME", help="name in the relay's certificate (default: the host)")
        parser.add_argument("--ca-file", metavar="FILE", help="PEM of its authority (default: those of the system)")
    bundle.add_argument("file", metavar="FILE", help="such as relay.zip")
    return [credentials, admit, revoke, bundle]


def _range(text: str) -> tuple[int, int]:
    minimum, colon, maximum = text.partition(":")
    if not colon or not minimum.strip().isdigit() or not maximum.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no range of workers; write for example 0:10")
    return int(minimum), int(maximum)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} sets no variable; write for example OMP_NUM_THREADS=1")
    return name, value
