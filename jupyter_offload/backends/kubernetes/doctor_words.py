"""What can be said of a site's names, images and profiles without asking anybody. Pure."""

from __future__ import annotations

import re

from ...api.models import Finding, SiteDefinition
from .fit import unavailable
from .health import Sight

#: ``offload-`` and the longest name of a worker, to which interLink adds for its tunnels.
_LONGEST_POD = 25
_LABEL = 63
_TAG = re.compile(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


def name_findings(namespace: str) -> list[Finding]:
    """Return whether the names that interLink makes of a pod's for a tunnel stay within a label: ``<pod>-<ns>-<ns>-wstunnel``."""
    length = _LONGEST_POD + 2 * (len(namespace) + 1) + len("-wstunnel")
    if length <= _LABEL:
        return [Finding(check="names", state="ok", message=f"Names of pods fit ({length} of {_LABEL} characters).")]
    text = f"With namespace {namespace!r} interLink's names for a tunnel have {length} characters, over {_LABEL}."
    hint = (
        f"Matters where the virtual node has tunnels on: use a namespace of at most {_longest_namespace()} characters."
    )
    return [Finding(check="names", state="warning", message=text, hint=hint)]


def _longest_namespace() -> int:
    return (_LABEL - len("-wstunnel") - _LONGEST_POD) // 2 - 1


def image_findings(site: SiteDefinition) -> list[Finding]:
    """Return what is doubtful about the images."""
    if not site.images:
        hint = "Add one: images: [{name: default, image: <registry>/<image>:<tag>}]"
        return [Finding(check="images", state="error", message="The site names no image for its workers.", hint=hint)]
    findings = []
    for image in site.images:
        if re.search(r"\s|[\"'$`\\]", image.image):
            text = f"Image {image.name!r} is called {image.image!r}, which a site's shell would read as something else."
            findings.append(Finding(check="images", state="error", message=text, hint="Use a plain reference or path."))
        if "host" in image.image.lower():
            text = f"Image {image.name!r} has 'host' in {image.image!r}: HTCondor plugins then run it outside any container."
            hint = "Give the image another name, if the site has HTCondor."
            findings.append(Finding(check="images", state="warning", message=text, hint=hint))
        if _floats(image.image):
            text = f"Image {image.name!r} ({image.image}) may be another one tomorrow."
            hint = "Name a version: a tag other than latest, or @sha256:..."
            findings.append(Finding(check="images", state="warning", message=text, hint=hint))
    return findings or [Finding(check="images", state="ok", message=f"{len(site.images)} named by version.")]


def _floats(image: str) -> bool:
    """Tell whether a reference names no version; a path such as ``/cvmfs/...`` is its site's own matter."""
    if image.startswith("/") or "@sha256:" in image:
        return False
    found = _TAG.search(image.rpartition("/")[2])
    return found is None or found[0] == ":latest"


def profile_findings(site: SiteDefinition, sight: Sight) -> list[Finding]:
    """Return the profiles that the nodes cannot give."""
    if not sight.nodes:
        return []
    missing = unavailable(site.profiles, sight.nodes)
    hint = "Take the profile out of the site file, make it smaller, or have the site report what it has."
    found = [Finding(check=f"profile {name}", state="warning", message=why, hint=hint) for name, why in missing.items()]
    if len(missing) < len(site.profiles):
        fits = ", ".join(p.name for p in site.profiles if p.name not in missing)
        found.append(Finding(check="profiles", state="ok", message=f"Fit on a node: {fits}."))
    return found
