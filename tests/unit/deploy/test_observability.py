"""Dashboards, alerts and their runbooks name what the code tells, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.config import Limits
from actors.persistence.carriers.registry import carriers
from actors.persistence.relay import Relay
from actors.persistence.shell import PersistenceShell
from actors.telemetry.metrics import Family, Process
from domain.ports import Channel
from doorstep.settings.settings import explain_settings
from gateway.deciders.actor_backend import ActorBackend
from gateway.http.metrics import whole
from persistence.reads.views import Backlog, Waiting
from scripts import dashboards
from tests.support.gateway_world import running
from tests.support.shells import Bus, HandClock, HeldStore, Payments, Shell, until

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
GRAFANA = ROOT / "deploy" / "grafana"
PAGE = ROOT / "docs" / "observability.md"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
NAME = re.compile(r"\bdoorstep_[a-z_]+")


@pytest.fixture
async def families(tmp_path: Path) -> list[Family]:
    """Everything that a server tells, from its parts."""
    clock, store = HandClock(hand=[0]), HeldStore()
    relay = Relay(
        store.inner,
        carriers(store.inner, Limits(), bus=Bus(), payment=Payments(), tell_region=_nobody, clock=clock),
        lease_s=5.0,
    )
    region = Shell()
    await region.shell.start()
    persistence = PersistenceShell(store, relay, clock, Limits(), backlog=_backlog)
    persistence.start()
    await until(
        lambda: any(one.name == "doorstep_outbox_rows" and one.samples for one in persistence.figures())
    )
    await persistence.stop()
    others: dict[str, list[Family] | None] = {
        "region:tx-dfw": region.shell.figures(),
        "persistence:0": persistence.figures() + Process("persistence:0", disk=tmp_path).figures(),
    }
    await region.shell.stop()
    async with running() as world:
        own = world.services.metrics.figures()
    return whole(
        "gateway:0",
        own + ActorBackend(_nothing, ("tx-dfw",), Limits(), persistence_actors=1).figures({}),
        others,
    )


async def _backlog() -> Backlog:
    return Backlog({channel: Waiting(2, 0) for channel in Channel}, 1)


async def _nobody(region_id: str, opened: object) -> None: ...


async def _nothing(*arguments: Any) -> Any: ...


def names_of(families: list[Family]) -> set[str]:
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.kind]}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


async def test_every_name_in_dashboards_and_alerts_is_on_the_page(families: list[Family]) -> None:
    known = names_of(families)
    unknown = {
        f"{where}: {name}" for where, expr in queries() for name in NAME.findall(expr) if name not in known
    }
    assert not unknown
    assert sum(1 for _ in queries()) > 60


async def test_every_family_is_described(families: list[Family]) -> None:
    text = PAGE.read_text()
    table = {f"doorstep_{name}" for name in re.findall(r"`([a-z_]+)(?:\{[^}]*\})?`", text)}
    missing = {family.name for family in families if not {family.name, family.name + "_total"} & table}
    assert not missing


async def test_labels_by_which_is_summed_are_on_the_samples(families: list[Family]) -> None:
    labels: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            labels.setdefault(family.name + sample.suffix, set()).update(sample.labels)
    seen = set()
    for where, expr in queries():
        # In these queries a sum's labels stand before the one metric that is summed up.
        for group, name in re.findall(r"by \(([^)]*)\)[^)]*?(doorstep_[a-z_]+)", expr):
            if name in labels:  # else nothing was counted yet, and the names are not known
                wanted = {label.strip() for label in group.split(",") if label.strip()}
                assert wanted <= labels[name], f"{where}: {name} has no {wanted - labels[name]}"
                seen.add(name)
    assert len(seen) > 15


def test_the_dashboards_are_those_of_the_script() -> None:
    assert {path: path.read_text() for path in dashboards.FOLDER.glob("*.json")} == dashboards.files()
    assert dashboards.main(["--check"]) == 0


def test_a_stale_dashboard_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "deploy" / "grafana" / "dashboards"
    monkeypatch.setattr(dashboards, "FOLDER", folder)
    assert dashboards.main(["--check"]) == 1
    assert dashboards.main([]) == 0
    assert dashboards.main(["--check"]) == 0
    (folder / "slos.json").write_text("{}")
    (folder / "old.json").write_text("{}")
    assert dashboards.main(["--check"]) == 1
    assert dashboards.main([]) == 0
    assert {path.name for path in folder.iterdir()} == {f"{one.name}.json" for one in dashboards.DASHBOARDS}


def test_panels_do_not_overlap_and_name_the_provisioned_source() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/doorstep.yml").read_text())["providers"]
    assert provider["type"] == "file"
    for path in (GRAFANA / "dashboards").glob("*.json"):
        model = json.loads(path.read_text())
        spots = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in model["panels"]]
        assert len(set(spots)) == len(spots)
        assert all(x + dashboards.WIDTH <= 24 for x, _ in spots)
        assert {panel["datasource"]["uid"] for panel in model["panels"]} == {source["uid"]}
        assert len({panel["id"] for panel in model["panels"]}) == len(spots)


def test_every_alert_has_a_severity_a_sentence_and_a_runbook() -> None:
    headings = {
        line.removeprefix("### ") for line in PAGE.read_text().splitlines() if line.startswith("### Doorstep")
    }
    for rule in rules():
        name = rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["runbook_url"] == f"docs/observability.md#{name.lower()}"
        assert name in headings
        # What counts a window has its patience in it; anything else must hold for a while.
        assert "for" in rule or re.search(r"(increase|changes)\(", rule["expr"]), name
    assert headings == {rule["alert"] for rule in rules()}


def test_brackets_of_every_query_match() -> None:
    for where, expr in queries():
        stack = []
        for sign in re.sub(r'"[^"]*"', '""', expr):
            if sign in "([{":
                stack.append({"(": ")", "[": "]", "{": "}"}[sign])
            elif sign in ")]}":
                assert stack, where
                assert stack.pop() == sign, where
        assert not stack, where


def test_prometheus_loads_the_alerts_and_asks_one_gateway_of_the_default_port() -> None:
    config = yaml.safe_load(PROMETHEUS.read_text())
    assert config["rule_files"] == [ALERTS.name]
    [doorstep] = [job for job in config["scrape_configs"] if job["job_name"] == "doorstep"]
    [targets] = doorstep["static_configs"]
    assert targets["targets"] == ["localhost:8000"]
    assert doorstep["metrics_path"] == "/metrics"
    data_dir = next(row.default for row in explain_settings() if row.name == "DATA_DIR")
    token = PROMETHEUS.parent / doorstep["authorization"]["credentials_file"]
    assert token.resolve() == ROOT / data_dir / "metrics_token"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_both_files() -> None:
    for command in (["check", "rules", str(ALERTS)], ["check", "config", "--syntax-only", str(PROMETHEUS)]):
        subprocess.run(["promtool", *command], check=True, capture_output=True)
