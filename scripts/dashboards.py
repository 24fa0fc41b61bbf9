"""Write Grafana's dashboards: `python scripts/dashboards.py [--check]`.

deploy/grafana/dashboards/*.json are made from the tables below; `--check` writes nothing and fails when one is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "doorstep-prometheus"}  # as deploy/grafana/provisioning has it
COLUMNS, WIDTH, HEIGHT = 3, 8, 8  # of the 24 columns of Grafana's grid


class Panel(NamedTuple):
    """A graph: title, unit (Grafana's name), its queries with their legends, and the value that a goal allows."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    limit: float | None = None
    says: str = ""


class Dashboard(NamedTuple):
    """One file."""

    name: str
    title: str
    says: str
    panels: tuple[Panel, ...]


def rate(counter: str, by: str = "", where: str = "") -> str:
    """A counter's rise a second, summed up by labels."""
    return f"sum by ({by}) (rate({counter}{where}[$__rate_interval]))"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram over all its series but for the labels in `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{where}[$__rate_interval])))"


def spread(histogram: str, by: str, where: str = "") -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile, by one label."""
    sizes = ((0.5, "p50"), (0.99, "p99"))
    return tuple((quantile(q, histogram, by, where), f"{{{{{by}}}}} {name}") for q, name in sizes)


ERRORS = (
    'sum(rate(doorstep_http_requests_total{status=~"5.."}[$__rate_interval]))'
    " / sum(rate(doorstep_http_requests_total[$__rate_interval]))"
)
ACCEPT = '{action="Accept"}'

SLOS = Dashboard(
    "slos",
    "Doorstep: goals",
    "What the server promises; the line is the goal.",
    (
        Panel(
            "Offer: from due to durable, p99",
            "s",
            ((quantile(0.99, "doorstep_offer_wait_seconds", "region"), "{{region}}"),),
            0.5,
            "Grows without any fault where no driver is free: look at the free drivers first.",
        ),
        Panel(
            "Accept: asked to durable answer, p99",
            "s",
            ((quantile(0.99, "doorstep_decision_seconds", "", ACCEPT), "all"),),
            0.1,
        ),
        Panel(
            "Region lag, p99",
            "s",
            ((quantile(0.99, "doorstep_region_lag_seconds", "region"), "{{region}}"),),
            1.0,
        ),
        Panel("Share of requests that failed (5xx)", "percentunit", ((ERRORS, "all"),), 0.001),
        Panel(
            "Parts that answer",
            "short",
            (("doorstep_up", "{{part}}"), ("doorstep_region_serving", "{{region}} serves")),
        ),
        Panel(
            "Driver sockets",
            "short",
            (("sum(doorstep_ws_sockets)", "all"), ("doorstep_ws_sockets", "{{gateway}}")),
        ),
        Panel(
            "Order create, p99",
            "s",
            ((quantile(0.99, "doorstep_decision_seconds", "", '{action="CreateOrder"}'), "all"),),
        ),
        Panel(
            "Oldest event in the outbox",
            "s",
            (("max by (channel) (doorstep_outbox_oldest_seconds)", "{{channel}}"),),
            60.0,
        ),
        Panel(
            "Free disk",
            "percentunit",
            (("doorstep_disk_free_bytes / doorstep_disk_size_bytes", "{{part}}"),),
            0.1,
            "Below the line is bad here.",
        ),
    ),
)

DISPATCH = Dashboard(
    "dispatch",
    "Doorstep: dispatch",
    "Orders, offers and the region actors.",
    (
        Panel(
            "Orders", "ops", ((rate("doorstep_orders_total", "region, outcome"), "{{region}} {{outcome}}"),)
        ),
        Panel(
            "Offers by outcome",
            "ops",
            ((rate("doorstep_offers_total", "region, outcome"), "{{region}} {{outcome}}"),),
        ),
        Panel(
            "Offers that stand, tasks that wait",
            "short",
            (
                ("doorstep_region_offers_live", "{{region}} offers"),
                ("doorstep_region_tasks_open", "{{region}} open"),
                ("doorstep_region_tasks_unplanned", "{{region}} unplanned"),
            ),
        ),
        Panel("From due to offer", "s", spread("doorstep_offer_wait_seconds", "region"), 0.5),
        Panel("From offer to answer", "s", spread("doorstep_offer_answer_seconds", "outcome")),
        Panel("Solve until the plan is back", "s", spread("doorstep_region_solve_seconds", "region")),
        Panel("Lag behind deadlines", "s", spread("doorstep_region_lag_seconds", "region"), 1.0),
        Panel("One step", "s", spread("doorstep_region_step_seconds", "region")),
        Panel("Append until durable", "s", spread("doorstep_region_append_seconds", "region")),
        Panel(
            "Drivers and tasks",
            "short",
            (
                ("doorstep_region_drivers", "{{region}} drivers"),
                ("doorstep_region_tasks", "{{region}} tasks"),
            ),
        ),
        Panel("Positions taken in", "ops", ((rate("doorstep_region_pings_total", "region"), "{{region}}"),)),
        Panel(
            "Queues",
            "short",
            (
                ("doorstep_region_inbox", "{{region}} messages"),
                ("doorstep_region_outbox", "{{region}} pushes"),
            ),
        ),
        Panel(
            "Epochs and lives",
            "short",
            (
                ("doorstep_region_epoch", "{{region}} epoch"),
                ("doorstep_region_lives_total", "{{region}} lives of the process"),
            ),
        ),
        Panel(
            "What went wrong",
            "ops",
            (
                (rate("doorstep_region_appends_failed_total", "region"), "{{region}} appends"),
                (rate("doorstep_region_solves_failed_total", "region"), "{{region}} solves"),
                (rate("doorstep_region_records_refused_total", "region"), "{{region}} records refused"),
            ),
        ),
    ),
)

GATEWAYS = Dashboard(
    "gateways",
    "Doorstep: gateways",
    "Sockets, REST, what is shed, and the processes.",
    (
        Panel("Driver sockets", "short", (("doorstep_ws_sockets", "{{gateway}}"),)),
        Panel(
            "Frames",
            "ops",
            (
                (rate("doorstep_ws_frames_in_total", "gateway"), "{{gateway}} in"),
                (rate("doorstep_ws_frames_out_total", "gateway"), "{{gateway}} out"),
            ),
        ),
        Panel(
            "Positions",
            "ops",
            (
                (rate("doorstep_pings_total", "gateway"), "{{gateway}} received"),
                (rate("doorstep_pings_sent_total", "gateway"), "{{gateway}} handed on"),
            ),
        ),
        Panel(
            "Sockets closed by the server", "ops", ((rate("doorstep_ws_closes_total", "code"), "{{code}}"),)
        ),
        Panel(
            "Pushes",
            "ops",
            (
                (rate("doorstep_pushes_sent_total", "gateway"), "{{gateway}} sent"),
                (rate("doorstep_pushes_dropped_total", "gateway"), "{{gateway}} for sockets that are gone"),
            ),
        ),
        Panel(
            "Load that was shed",
            "ops",
            (
                (rate("doorstep_http_requests_total", "status", '{status=~"429|503"}'), "{{status}}"),
                (rate("doorstep_turned_away_total", "kind, reason"), "{{kind}} for {{reason}}"),
                (rate("doorstep_region_pings_shed_total", ""), "positions"),
                (rate("doorstep_notices_dropped_total", ""), "notices"),
                (rate("doorstep_persistence_turned_away_total", ""), "commands"),
            ),
        ),
        Panel("Requests", "ops", ((rate("doorstep_http_requests_total", "route"), "{{route}}"),)),
        Panel("Requests by status", "ops", ((rate("doorstep_http_requests_total", "status"), "{{status}}"),)),
        Panel(
            "Time to answer, p99",
            "s",
            ((quantile(0.99, "doorstep_http_request_seconds", "route"), "{{route}}"),),
        ),
        Panel(
            "Decisions, p99", "s", ((quantile(0.99, "doorstep_decision_seconds", "action"), "{{action}}"),)
        ),
        Panel("Decisions by outcome", "ops", ((rate("doorstep_decisions_total", "outcome"), "{{outcome}}"),)),
        Panel(
            "Vendors",
            "ops",
            ((rate("doorstep_vendor_calls_total", "port, outcome"), "{{port}} {{outcome}}"),),
        ),
        Panel("Waiting for a call", "short", (("doorstep_collector_waiting", "{{gateway}} to {{target}}"),)),
        Panel("Calls repeated", "ops", ((rate("doorstep_calls_retried_total", "target"), "{{target}}"),)),
        Panel("Mission control viewers", "short", (("doorstep_ops_viewers", "{{gateway}}"),)),
        Panel(
            "Event loop lag, p99",
            "s",
            ((quantile(0.99, "doorstep_event_loop_lag_seconds", "part"), "{{part}}"),),
            0.25,
        ),
        Panel("Memory", "bytes", (("doorstep_process_resident_bytes", "{{part}}"),)),
        Panel(
            "Processor", "percentunit", ((rate("doorstep_process_cpu_seconds_total", "part"), "{{part}}"),)
        ),
    ),
)

PERSISTENCE = Dashboard(
    "persistence",
    "Doorstep: persistence",
    "Group commit, the outbox, the fence.",
    (
        Panel(
            "Commands by outcome",
            "ops",
            ((rate("doorstep_persistence_commands_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "One transaction until durable",
            "s",
            spread("doorstep_persistence_append_seconds", "persistence"),
            0.25,
        ),
        Panel(
            "Commands in one transaction",
            "short",
            spread("doorstep_persistence_append_commands", "persistence"),
        ),
        Panel("Waiting commands", "short", (("doorstep_persistence_queue", "{{persistence}}"),)),
        Panel("Transactions under way", "short", (("doorstep_persistence_transactions", "{{persistence}}"),)),
        Panel("Records in a region's append", "short", spread("doorstep_region_append_records", "region")),
        Panel("Events not handed on", "short", (("max by (channel) (doorstep_outbox_rows)", "{{channel}}"),)),
        Panel(
            "Age of the oldest",
            "s",
            (("max by (channel) (doorstep_outbox_oldest_seconds)", "{{channel}}"),),
            60.0,
        ),
        Panel("Database", "bytes", (("max(doorstep_database_bytes)", "size"),)),
        Panel(
            "Fenced, broken, failed",
            "ops",
            (
                (
                    rate(
                        "doorstep_persistence_commands_total", "outcome", '{outcome=~"fenced|broken|failed"}'
                    ),
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            "Disk",
            "bytes",
            (("doorstep_disk_free_bytes", "{{part}} free"), ("doorstep_disk_size_bytes", "{{part}} size")),
        ),
    ),
)

DASHBOARDS = (SLOS, DISPATCH, GATEWAYS, PERSISTENCE)


def model(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": f"doorstep-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.says,
        "tags": ["doorstep"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.limit is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.limit}]
        defaults |= {
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": {"thresholdsStyle": {"mode": "line"}},
        }
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": {
            "x": number % COLUMNS * WIDTH,
            "y": number // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


def files() -> dict[Path, str]:
    """What is to stand in each file."""
    return {
        FOLDER / f"{one.name}.json": json.dumps(model(one), indent=2, ensure_ascii=False) + "\n"
        for one in DASHBOARDS
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is stale")
    check = parser.parse_args(arguments).check
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in FOLDER.glob("*.json") if path not in wanted]
    for path in stale:
        print(f"{path.relative_to(FOLDER.parents[2])} is {'stale' if check else 'written'}")
        if not check and path in wanted:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        elif not check:
            path.unlink()
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
