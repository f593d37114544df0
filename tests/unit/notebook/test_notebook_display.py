"""What notebooks show: complete, and never somebody else's markup."""

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
