"""Read ``relay.yaml`` and say everything that is wrong with it at once, as with site files. Blocking: use a thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from ...api import locations
from ...api.models import FieldProblem
from ..site_files import line_of
from ..site_mistakes import explain
from ..yaml_lines import YamlDocument, load_yaml
from .settings import HTTPS, RelayFile, RelayUse

MAXIMUM_BYTES = 1 << 20
#: What only the facility's relay has.
_FACILITY = ("domain", "ca_file", "admission", "identity")


@dataclass(frozen=True)
class RelayConfiguration:
    """What is configured. Without a file, or with ``embedded`` in it, ``facility`` is None; ``problems`` mean neither works."""

    path: Path | None = None
    file: RelayFile = field(default_factory=RelayFile)
    problems: list[FieldProblem] = field(default_factory=list)

    @property
    def facility(self) -> RelayUse | None:
        """The facility's relay, as a cluster uses it."""
        file = self.file
        if not file.addresses:
            return None
        domain = file.domain or file.addresses[0].rpartition(":")[0].strip("[]").lower()
        return RelayUse(
            embedded=False, addresses=file.addresses, domain=domain, ca_file=file.ca_file, admission=file.admission,
            identity=file.identity, lease_s=file.lease_s, resume_s=file.resume_s,
        )  # fmt: skip


def read_configuration() -> RelayConfiguration:
    """Return what the most specific ``relay.yaml`` says. Never raises: what is wrong stands in ``problems``."""
    path = next((p for p in locations.relay_files() if p.exists()), None)
    if path is None:
        return RelayConfiguration()
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        problem = FieldProblem(field=path.name, message=message, hint=f"Make it readable: chmod a+r {path}")
        return RelayConfiguration(path, problems=[problem])
    return parse_configuration(path, content)


def parse_configuration(path: Path, content: bytes) -> RelayConfiguration:
    """Return what this content of the file says."""
    document = load_yaml(content, path.name)
    if document.fatal:
        return RelayConfiguration(path, problems=document.problems)
    if not isinstance(document.data, dict):
        message = "The file is empty." if document.data is None else "The file holds no fields and values."
        hint = "Write at least: addresses: [relay.example.org:443]; or: embedded: {host: login.example.org}"
        problem = FieldProblem(field=f"{path.name} (line 1)", message=message, hint=hint)
        return RelayConfiguration(path, problems=[problem])
    problems = [*document.problems, *_of_the_whole(document)]
    file = RelayFile()
    try:
        file = RelayFile.model_validate(document.data)
    except ValidationError as error:
        problems += [explain(e, document, RelayFile) for e in error.errors(include_url=False)]
    problems.sort(key=lambda p: line_of(p.field))
    return RelayConfiguration(path, RelayFile() if problems else file, problems)


def _of_the_whole(document: YamlDocument) -> Iterator[FieldProblem]:
    """Yield what one field alone cannot show."""
    data = document.data
    if data.get("embedded") is not None:
        for name in ("addresses", *_FACILITY):
            if data.get(name):
                yield document.problem(
                    (name,), f"{name!r} is of a facility's relay, and 'embedded' stands here too.",
                    "Keep one of the two: either addresses and what belongs to them, or embedded.",
                )  # fmt: skip
        return
    if not data.get("addresses"):
        yield document.problem(
            (), "Neither 'addresses' nor 'embedded' is given.",
            "Write for example: addresses: [relay.example.org:443]; or: embedded: {host: login.example.org}",
        )  # fmt: skip
    identity = data.get("identity")
    given = [n for n in ("token_file", "token_variable") if isinstance(identity, dict) and identity.get(n)]
    if data.get("admission", HTTPS) == HTTPS and len(given) != 1:
        said = "both are given" if given else "there is none"
        yield document.problem(
            ("identity",), f"Admission by https needs a token, and {said}.",
            "Write one of: identity: {token_file: /path/of/token}; or: identity: {token_variable: JUPYTERHUB_API_TOKEN}; or set"
            " admission to the path of the relay's unix socket.",
        )  # fmt: skip
    elif data.get("admission", HTTPS) != HTTPS and given:
        yield document.problem(
            ("identity",), "Admission by a unix socket takes no token: the system says who asks.",
            "Delete identity, or write admission: https",
        )  # fmt: skip
