"""The rights that a Kubernetes site needs, what each is for, and the line that grants it.

The Role in ``docs/how-to/add-a-kubernetes-site.md`` is the same, and the Helm chart in ``deploy/helm`` grants no less; a test
compares them. Limit ranges, Pod Security and admission need no right: a dry run meets them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """A verb on a resource. ``needed``: without it no worker starts or ends; otherwise ``why`` says what is missing."""

    resource: str
    verb: str
    why: str
    needed: bool = True
    namespaced: bool = True
    group: str = ""
    subresource: str = ""

    @property
    def named(self) -> str:
        """Return it as kubectl writes resources, such as ``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def _rights(resource: str, verbs: dict[str, str], *, needed: bool = True, namespaced: bool = True) -> list[Right]:
    return [Right(resource, verb, why, needed, namespaced) for verb, why in verbs.items()]


#: In the order in which they are missed.
RIGHTS: tuple[Right, ...] = (
    *_rights("pods", {
        "create": "start workers", "get": "look at a worker", "list": "see workers and what is left of them",
        "delete": "end workers",
    }),
    Right("pods", "get", "show the logs of workers", subresource="log"),
    *_rights("secrets", {
        "create": "give a worker its certificate", "get": "find a certificate again",
        "list": "find certificates that are left over", "patch": "have a certificate end with its pod",
        "delete": "take a certificate back",
    }),
    *_rights("events", {"list": "say why a pod waits"}, needed=False),
    *_rights("resourcequotas", {"list": "say what a quota still allows"}, needed=False),
    *_rights("nodes", {
        "get": "see whether the site is well, and what it has", "list": "discover virtual nodes and find ordinary ones",
    }, needed=False, namespaced=False),
)  # fmt: skip

#: More than anything here needs. Who has it shares it with whoever gets at the account.
TOO_MUCH: tuple[Right, ...] = (
    Right("secrets", "list", "read the secrets of all namespaces", namespaced=False),
    Right("pods", "create", "start pods in all namespaces", namespaced=False),
    Right("pods", "create", "run commands in pods of all namespaces", subresource="exec", namespaced=False),
    Right("nodes", "patch", "change nodes", namespaced=False),
    Right(
        "clusterrolebindings", "create", "give itself every right", namespaced=False, group="rbac.authorization.k8s.io"
    ),
)

_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


@dataclass(frozen=True)
class Denied:
    """What RBAC denied, from the API server's own sentence."""

    user: str
    verb: str
    resource: str
    group: str
    namespace: str | None

    @property
    def sentence(self) -> str:
        """Return who may not do what, where."""
        where = f" in namespace {self.namespace!r}" if self.namespace else ""
        return f"The account {self.user!r} may not {self.verb} {self.resource}{where}."

    @property
    def remedy(self) -> str:
        """Return the commands that repair it."""
        return grant(self.user, [(self.resource, [self.verb], self.group)], self.namespace)


def denied_of(message: str) -> Denied | None:
    """Return what the API server's message says was denied; None where it speaks of something else."""
    found = _DENIED.search(message)
    return Denied(**found.groupdict()) if found else None


def subject(user: str) -> str:
    """Return kubectl's option for a user or service account."""
    kind, _, rest = user.partition(":serviceaccount:")
    return f"--serviceaccount={rest}" if kind == "system" and rest else f"--user={user or '<account>'}"


def _short(user: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", user.lower().rpartition(":")[2]).strip("-") or "account"


def grant(user: str, rules: list[tuple[str, list[str], str]], namespace: str | None) -> str:
    """Return the commands by which an administrator grants ``rules`` (resource, verbs, group), in a namespace or everywhere."""
    commands = []
    for resource, verbs, group in rules:
        # names of their own, so that a line given to two users, or for two verbs, does not meet itself
        name = "-".join(["offload", _short(user), *verbs, resource.replace("/", "-")])
        head, _, sub = resource.partition("/")
        full = f"{head}.{group}" if group else head
        full = f"{full}/{sub}" if sub else full
        scope, role, option = (f"-n {namespace} ", "role", "role") if namespace else ("", "clusterrole", "clusterrole")
        commands.append(f"kubectl {scope}create {role} {name} --verb={','.join(verbs)} --resource={full}")
        commands.append(f"kubectl {scope}create {role}binding {name} --{option}={name} {subject(user)}")
    return "An administrator runs: " + " && ".join(commands)
