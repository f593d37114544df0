"""What notebooks show: complete, and never somebody else's markup."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from cluster_records import NOW, cluster, profile

from jupyter_offload.api import models
from jupyter_offload.api.problems import NotFound
from jupyter_offload.notebook import html
from jupyter_offload.notebook.results import Log, Logs, Sites, TimelineEntries

EVIL = "<img src=x onerror=alert(1)>\"'&"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.text.append(data)


def shown(text):
    seen = Tags(text)
    assert "img" not in seen.tags
    return seen


def test_card_escapes_everything():
    record = cluster(
        reason={"code": "workers-failing", "message": EVIL, "hint": EVIL},
        site_title=EVIL,
        profile=profile(title=EVIL),
        end={"at": NOW, "because": "idle"},
    )
    seen = shown(html.card(record, f"tls://{EVIL}", f"https://x/{EVIL}"))
    text = "".join(seen.text)
    assert text.count(EVIL) == 6
    assert seen.links == [f"https://x/{EVIL}"]


def test_card_says_what_matters():
    record = cluster(spec={"adaptive": {"minimum": 1, "maximum": 9}}, phase="starting")
    text = "".join(shown(html.card(record, None, "In JupyterLab, open the panel.")).text)
    for words in (
        "zmumu",
        "starting",
        "All workers are here.",
        "2 of 2 (adaptive 1 to 9)",
        "1 core, 2 GiB",
        "open the panel",
    ):
        assert words in text
    assert "Scheduler" not in text


def test_card_and_sites_tell_waits_and_what_is_left():
    way = {"cores": 1, "memory_bytes": 2**31}
    workers = [
        *(way | {"name": f"q{n}", "state": "starting", "stage": "queued"} for n in range(3)),
        way | {"name": "s", "state": "starting", "stage": "submitted"},
        way | {"name": "l", "state": "lost", "stage": "started"},
        way | {"name": "c", "state": "connected", "stage": "proven"},
    ]
    text = " ".join(shown(html.card(cluster(worker_list=workers, left_at_site=[EVIL]), None, "")).text)
    assert "On their way 1 submitted, 3 queued, 1 lost" in text
    assert f"Left at the site {EVIL}" in text
    local = [way | {"name": "w0", "state": "starting"}, way | {"name": "w1", "state": "lost"}]
    text = " ".join(shown(html.card(cluster(worker_list=local), None, "")).text)
    assert "On their way" not in text and "Left" not in text

    heard = datetime.now(UTC) - timedelta(hours=3)
    accelerators = [{"resource": "nvidia.com/gpu", "title": "A100", "total": 12, "free": None}]
    far = site(health={"state": "healthy", "last_heard_at": heard}, capacity={"accelerators": accelerators},
               unavailable={"big": "No node has 8 cores."})  # fmt: skip
    table = repr(Sites([far]))
    assert "  3 h" in table and " ago  A100 unknown of 12" in table
    assert "big cannot be had now: No node has 8 cores." in table and "not now)" in table


def test_dashboard_sentence_is_no_link():
    assert shown(html.card(cluster(), None, "In JupyterLab, open the panel Offload.")).links == []


def site(name="local", **values):
    return models.Site(
        **(
            {
                "name": name,
                "title": "This computer",
                "backend": "local",
                "profiles": [profile(), profile(name="big", cores=8)],
                "maximum_clusters": 3,
                "health": {"state": "healthy"},
                "capacity": {},
            }
            | values
        )
    )


def test_sites_show_title_health_and_profiles_and_escape():
    sites = Sites([site(), site("far", title=EVIL, health={"state": "unhealthy", "message": EVIL})])
    text = "".join(shown(sites._repr_html_()).text)
    assert text.count(EVIL) == 2
    for words in ("local", "This computer", "healthy", "small* (1 core, 2 GiB)", "big (8 cores, 2 GiB)"):
        assert words in text and words in repr(sites)


def test_sites_are_found_by_name_and_position():
    sites = Sites([site(), site("far")])
    assert sites["far"] is sites[1]
    assert sites[:1] == [sites[0]]
    with pytest.raises(NotFound, match=r"There is no site 'cern'\. There are: local, far\."):
        sites["cern"]


def test_logs_and_timeline_escape():
    assert "".join(shown(Logs({EVIL: Log(EVIL)})._repr_html_()).text).count(EVIL) == 2
    assert repr(Log("two\nlines")) == "two\nlines"
    entry = models.TimelineEntry(at=NOW, code="x", message=EVIL, worker=EVIL)
    later = entry.model_copy(update={"at": NOW.replace(minute=9), "message": "done"})
    entries = TimelineEntries([entry, later])
    assert "".join(shown(entries._repr_html_()).text).count(EVIL) == 3
    assert "+5 min" in repr(entries).splitlines()[2]
