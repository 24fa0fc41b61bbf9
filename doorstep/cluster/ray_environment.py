"""How Ray differs from its defaults here (ADR 0003).

Ray reads these variables when it is imported, and its processes when they start. What the environment says stays.
"""

from __future__ import annotations

import os

# Of every node, and the same in deploy/ray.env, whose nodes `ray start` starts without reading this.
_EVERYWHERE = {
    "RAY_worker_niceness": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    # A call to an actor that has just died fails when a look at it finds it older than the first of these; the second
    # is the time between two looks. The defaults, 1000 each, make it up to two seconds, and whoever called just before
    # the actor was back waits them out: gateways, and the region that restores itself from a persistence actor.
    "RAY_timeout_ms_task_wait_for_death_info": "200",
    "RAY_core_worker_internal_heartbeat_ms": "100",
    # What the dashboard shows of tasks that have ended. The default, 100,000, is several hundred megabytes of the head
    # after an hour of solves.
    "RAY_task_events_max_num_task_in_gcs": "2000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Every port of Ray asks for a token, also on loopback: who reaches one runs what he likes as the server's user.
NODE_ENVIRONMENT = {**_EVERYWHERE, "RAY_AUTH_MODE": "token"}
# Of a cluster on this machine alone.
RAY_ENVIRONMENT = {
    **NODE_ENVIRONMENT,
    # "No cluster beyond this machine", whatever the variable's name says: every port of Ray is then on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
for _name, _value in RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
