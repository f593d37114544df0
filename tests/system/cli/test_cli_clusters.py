"""``jupyter offload`` with real clusters, without a Jupyter server."""

import json
import os
import shutil
import signal
import subprocess
import sys

from dask.distributed import Client

from jupyter_offload.api import models
from jupyter_offload.api.client import KeeperClient


def good(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_whole_life_of_a_cluster(home):
    out = good(home.offload(
        "clusters", "new", "zmumu", "--workers", "1", "--memory", "1 GiB", "--lifetime", "2h", "--idle-timeout", "0",
        "--env", "ANSWER=42", "--env", "EMPTY=", "--module", "colorsys", "--environment", sys.executable,
    ))  # fmt: skip
    assert "running" in out and "1 GiB per worker" in out and "WORKER" in out and "w0" in out

    listed = good(home.offload("clusters", "list")).splitlines()
    assert listed[0].startswith("NAME   PHASE") and listed[1].startswith("zmumu  running  1 of 1")
    assert listed[0].index("SITE") == listed[1].index("local")
    api = models.ClusterList.model_validate_json(good(home.offload("clusters", "list", "--json")))
    spec = api.clusters[0].spec
    assert (spec.env, spec.modules, spec.lifetime_s) == ({"ANSWER": "42", "EMPTY": ""}, ["colorsys"], 7200)

    keeper = KeeperClient()
    connection = keeper.call("clusterConnection", models.Connection, id="zmumu")
    keeper.close()
    from distributed.security import Security

    tls = connection.tls
    security = Security(tls_ca_file=tls.ca_file, tls_client_cert=tls.cert_file, tls_client_key=tls.key_file)
    with Client(connection.scheduler_address, security=security) as client:
        assert client.submit(lambda: os.environ["ANSWER"]).result(30) == "42"

    assert "of 2" in good(home.offload("clusters", "scale", "zmumu", "2"))
    changed = models.Cluster.model_validate_json(good(home.offload("clusters", "adapt", "zmumu", "0:3", "--json")))
    assert changed.spec.adaptive == models.Adaptive(minimum=0, maximum=3)
    changed = models.Cluster.model_validate_json(good(home.offload("clusters", "scale", "zmumu", "1", "--json")))
    assert changed.spec.adaptive is None
    assert "end of its lifetime" in good(home.offload("clusters", "extend", "zmumu", "--by", "1h"))
    shown = models.Cluster.model_validate_json(good(home.offload("clusters", "show", "zmumu", "--json")))
    assert shown.spec.lifetime_s == 3 * 3600
    assert shown.id in good(home.offload("clusters", "show", shown.id))

    timeline = models.Timeline.model_validate_json(good(home.offload("clusters", "timeline", "zmumu", "--json")))
    assert timeline.entries[0].code == "accepted"
    assert timeline.entries[0].message in good(home.offload("clusters", "timeline", "zmumu"))

    forget = home.offload("clusters", "forget", "zmumu")
    assert forget.returncode == 1 and "clusters stop zmumu" in forget.stderr
    stopped = json.loads(good(home.offload("clusters", "stop", "zmumu", "--json")))["clusters"]
    assert models.Cluster.model_validate(stopped[0]).phase == "stopped"
    assert home.named("supervise") == []
    assert "stopped" in good(home.offload("clusters", "stop", "zmumu")), "stopping twice is stopping once"

    late = home.offload("clusters", "scale", "zmumu", "2")
    assert late.returncode == 1 and "zmumu" in late.stderr and "Traceback" not in late.stderr
    assert "==> scheduler <==" in good(home.offload("clusters", "logs", "zmumu")), "logs outlive the cluster"
    assert json.loads(good(home.offload("clusters", "forget", "zmumu", "--json"))) == {"forgotten": [shown.id]}
    assert home.offload("clusters", "show", "zmumu").returncode == 3


def test_logs_of_one_of_all_and_as_they_grow(home):
    good(home.offload("clusters", "new", "logs", "--workers", "1", "--json"))
    sources = models.LogSources.model_validate_json(good(home.offload("clusters", "logs", "logs", "--list", "--json")))
    names = {s.name for s in sources.sources}
    assert {"scheduler", "w0"} <= names
    assert all(name in good(home.offload("clusters", "logs", "logs", "--list")) for name in names)
    one = good(home.offload("clusters", "logs", "logs", "scheduler"))
    assert "Scheduler at" in one and "==>" not in one
    assert len(good(home.offload("clusters", "logs", "logs", "scheduler", "--tail", "20"))) <= 20
    every = good(home.offload("clusters", "logs", "logs"))
    assert all(f"==> {name} <==" in every for name in names)
    chunks = [models.LogChunk.model_validate_json(line)
              for line in good(home.offload("clusters", "logs", "logs", "--json")).splitlines()]  # fmt: skip
    assert {c.source for c in chunks} == names

    follow = subprocess.Popen(
        [sys.executable, "-m", "jupyter_offload.cli", "clusters", "logs", "logs", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=home.env,
    )  # fmt: skip
    seen = ""
    while "Worker w0 started" not in seen:
        seen += follow.stdout.readline()
    good(home.offload("clusters", "scale", "logs", "2"))
    while "Worker w1 started" not in seen:
        seen += follow.stdout.readline()
    good(home.offload("clusters", "stop", "logs"))
    _, err = follow.communicate(timeout=30)
    assert follow.returncode == 0 and "has ended" in err

    missing = home.offload("clusters", "logs", "logs", "nobody")
    assert missing.returncode == 3 and "nobody" in missing.stderr


def test_sites_environments_and_checks(home):
    assert "local" in good(home.offload("sites", "list"))
    sites = models.SiteList.model_validate_json(good(home.offload("sites", "list", "--json")))
    assert [s.name for s in sites.sites] == ["local"]
    for words in (("sites", "check"), ("sites", "check", "local")):
        checks = json.loads(good(home.offload(*words, "--json")))["checks"]
        assert [c.pop("site") for c in checks] == ["local"]
        assert models.Findings.model_validate(checks[0]).findings
    assert "STATE" in good(home.offload("sites", "check"))
    environments = models.EnvironmentList.model_validate_json(good(home.offload("environments", "list", "--json")))
    assert any(e.usable for e in environments.environments)
    assert environments.environments[0].python in good(home.offload("environments", "list", "--refresh"))
    assert home.offload("sites", "check", "nowhere").returncode == 3


def test_doctor_checks_the_installation(home):
    done = home.offload("doctor", "--json")
    findings = models.Findings.model_validate_json(done.stdout).findings
    assert findings
    assert done.returncode == (1 if any(f.state == "error" for f in findings) else 0)
    assert findings[0].check in home.offload("doctor").stdout


def test_an_unhealthy_site_is_status_1(home):
    folder = home.folder / "config" / "offload" / "sites"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("title: 3\nbackend: no-such-backend\n")
    done = home.offload("sites", "check", "--json")
    assert done.returncode == 1, done.stdout
    assert {c["site"] for c in json.loads(done.stdout)["checks"]} == {"broken", "local"}
    listed = good(home.offload("sites", "list"))
    assert "unhealthy" in listed and "healthy" in listed


def test_bad_input_is_told_before_anything_starts(home):
    for words, status, says in (
        (["clusters", "new", "z", "--memory", "banana"], 2, "'banana' is not an amount of memory"),
        (["clusters", "new", "z", "--workers", "1000000"], 2, "1000000 is not allowed"),
        (["clusters", "new", "a b"], 2, "'a b' is not allowed"),
        (["clusters", "new", "z", "--site", "nowhere"], 3, "nowhere"),
        (["clusters", "new", "z", "--profile", "huge"], 3, "huge"),
        (["clusters", "new", "z", "--environment", "no-kernel"], 3, "no-kernel"),
        (["clusters", "new", "z", "--lifetime", "soon", "--cores", "0"], 2, "soon"),
        (["clusters", "new", "z", "--timeout", "soon"], 2, "soon"),
        (["clusters", "stop"], 2, "--all"),
        (["clusters", "stop", "z", "--all"], 2, "not both"),
        (["clusters", "extend", "z"], 3, "no cluster 'z'"),
        (["clusters", "show", "z"], 3, "jupyter offload clusters new NAME"),
        (["clusters", "scale", "z", "-1"], 2, "-1"),
    ):
        done = home.offload(*words)
        assert (done.returncode, done.stdout) == (status, ""), (words, done.stderr)
        error = done.stderr[done.stderr.index("Error:") :]  # a slow keeper's start may be reported before
        assert says in error and len(error.splitlines()) >= 2, (words, done.stderr)
        problem = models.ProblemDocument.model_validate_json(home.offload(*words, "--json").stderr)
        assert problem.hint or all(e.hint for e in problem.errors), words
    assert json.loads(good(home.offload("clusters", "list", "--json")))["clusters"] == []


def test_a_dry_run_shows_what_would_be_submitted_and_starts_nothing(home):
    shown = good(home.offload("clusters", "new", "z", "--workers", "3", "--dry-run"))
    preview = models.Preview.model_validate_json(good(home.offload("clusters", "new", "z", "--dry-run", "--json")))
    assert "dask" in shown and "dask" in preview.text
    assert json.loads(good(home.offload("clusters", "list", "--json")))["clusters"] == []


def test_several_are_stopped_and_forgotten_at_once(home):
    for name in ("one", "two"):
        made = models.Cluster.model_validate_json(
            good(home.offload("clusters", "new", name, "--workers", "0", "--no-wait", "--json"))
        )
        assert made.phase in ("pending", "starting", "running")
    taken = home.offload("clusters", "new", "one", "--no-wait")
    assert taken.returncode == 2 and "one" in taken.stderr
    out = good(home.offload("clusters", "stop", "--all"))
    assert "one: stopped" in out and "two: stopped" in out
    assert "nothing to stop" in good(home.offload("clusters", "stop", "--all"))
    assert "Forgotten: " in good(home.offload("clusters", "forget", "--all"))
    assert "clusters new NAME" in good(home.offload("clusters", "list"))


def test_timeout_is_status_4_and_keeps_the_cluster(home, slow_module):
    words = ["clusters", "new", "slow", "--env", f"PYTHONPATH={slow_module['PYTHONPATH']}", "--module", "slow_module"]
    done = home.offload(*words, "--timeout", "3s")
    assert done.returncode == 4
    assert "slow: starting, 0 of 2 workers" in done.stderr, "a file gets plain lines of progress"
    assert "\r" not in done.stderr
    assert "clusters show slow" in done.stderr
    assert "slow" in good(home.offload("clusters", "list"))


def test_interrupting_is_status_130_and_keeps_the_cluster(home, slow_module):
    words = ["clusters", "new", "slow", "--env", f"PYTHONPATH={slow_module['PYTHONPATH']}", "--module", "slow_module"]
    process = subprocess.Popen([sys.executable, "-m", "jupyter_offload.cli", *words], stderr=subprocess.PIPE, text=True,
                               env=home.env)  # fmt: skip
    while "slow: " not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err
    assert "slow" in good(home.offload("clusters", "list"))


def test_a_reader_that_goes_away_is_no_error(home):
    good(home.offload("version"))
    command = f"{sys.executable} -m jupyter_offload.cli environments list --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=home.env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


def test_an_unusable_private_folder_is_an_error_with_a_remedy(home):
    folder = home.folder / "x" / "jupyter-offload"
    folder.mkdir(mode=0o755)
    done = home.offload("sites", "list")
    folder.rmdir()
    assert done.returncode == 1 and "not a private folder" in done.stderr and "Traceback" not in done.stderr


def test_it_is_a_subcommand_of_jupyter(home):
    jupyter = shutil.which("jupyter", path=os.path.dirname(sys.executable))
    path = os.path.dirname(sys.executable) + os.pathsep + home.env["PATH"]
    done = subprocess.run(
        [jupyter, "offload", "version"], capture_output=True, text=True, env=home.env | {"PATH": path}
    )
    assert done.returncode == 0 and done.stdout.startswith("jupyter-offload ")
