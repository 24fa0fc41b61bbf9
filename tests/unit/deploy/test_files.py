"""The deployment files name only what exists: settings, commands, flags, folders, nodes. No container runs for this."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import ray.autoscaler
import typer.main
import yaml

from doorstep.cli.app import app
from doorstep.cluster.ray_environment import NODE_ENVIRONMENT
from doorstep.settings.cluster import NODE_KINDS
from doorstep.settings.settings import explain_settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, of its libraries
    from ray.scripts.scripts import cli as ray_cli

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
KUBERAY = list(yaml.safe_load_all((ROOT / "deploy/kuberay/raycluster.yaml").read_text()))
LAUNCHER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
NGINX = (ROOT / "deploy/nginx/doorstep.conf").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILES = {
    name: (ROOT / name).read_text()
    for name in (
        "docker-compose.yml",
        "cluster.yaml",
        "Dockerfile",
        ".dockerignore",
        "deploy/ray.env",
        "deploy/nginx/doorstep.conf",
        "deploy/kuberay/raycluster.yaml",
    )
}
SETTINGS = {row.name for row in explain_settings()}
PORT = 8000
# Ray's own, and what the files themselves make up for a later line.
RAY_VARIABLES = {
    "RAY_REDIS_ADDRESS",
    "RAY_external_storage_namespace",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
}
IMAGE = re.compile(r"(?:doorstep|(?:postgres|redis|nginx|python|node):[0-9][\w.-]*|REPOSITORY/doorstep:TAG)")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of every file that runs `ray` or `doorstep`, in words."""
    for name, service in COMPOSE["services"].items():
        yield from of_words(f"docker-compose.yml {name}", service.get("command", []))
    for line in [*LAUNCHER["head_start_ray_commands"], *LAUNCHER["worker_start_ray_commands"]]:
        yield from of_words("cluster.yaml", ["sh", "-c", line])
    for place, container in containers():
        yield from of_words(place, container.get("command", []))
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
        yield from of_words(f"{place} preStop", hook.get("command", []))
    for line in re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE):
        yield from of_words("Dockerfile", json.loads(line))


def of_words(place: str, words: list[str]) -> Iterator[tuple[str, list[str]]]:
    if "sh" in words:
        for part in re.split(r"&&|;", words[-1]):
            yield from of_words(place, shlex.split(part.partition(">")[0].removeprefix("exec ")))
        return
    while words and (re.match(r"\w+=", words[0]) or words[0] in ("exec", "nohup", "tini", "--")):
        words = words[1:]
    if words and words[0] in ("ray", "doorstep"):
        yield place, words


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the Kubernetes file, each with where it stands."""
    spec = KUBERAY[0]["spec"]
    groups = [("head", spec["headGroupSpec"]), *((one["groupName"], one) for one in spec["workerGroupSpecs"])]
    for name, group in groups:
        for container in group["template"]["spec"]["containers"]:
            yield f"raycluster.yaml {name}", container
    for document in KUBERAY[1:]:
        if document["kind"] == "Deployment":
            for container in document["spec"]["template"]["spec"]["containers"]:
                yield f"raycluster.yaml {document['metadata']['name']}", container


def parse(words: list[str]) -> click.Context:
    """As the program itself would read them. Raises click's errors for a command or flag that it has not."""
    program: Any = typer.main.get_command(app) if words[0] == "doorstep" else ray_cli
    context, rest = program.make_context(words[0], words[1:]), words[1:]
    while isinstance(program, click.Group) or hasattr(program, "commands"):
        name, program, rest = program.resolve_command(context, rest)
        context = program.make_context(name, list(rest), parent=context)
        rest = []
    return context  # type: ignore[no-any-return]


@pytest.mark.parametrize(("place", "words"), [*commands()])
def test_commands_and_flags_exist(place: str, words: list[str]) -> None:
    parse(words)


def test_all_commands_are_found() -> None:
    found = {" ".join(words[:2]) for _, words in commands()}
    assert found == {"ray start", "ray stop", "doorstep up", "doorstep drain"}


def test_a_made_up_flag_is_found() -> None:
    for words in (["doorstep", "up", "--adress", "auto"], ["doorstep", "upp"], ["ray", "start", "--haed"]):
        with pytest.raises(Exception, match=r"No such (option|command)"):
            parse(words)


def environments() -> Iterator[tuple[str, str]]:
    """Every variable that a file gives to a Ray node or to the server."""
    for name, service in COMPOSE["services"].items():
        if service.get("image") == "doorstep":
            yield from ((f"compose {name}", variable) for variable in service.get("environment", {}))
    for place, container in containers():
        yield from ((place, one["name"]) for one in container.get("env", []))
    for line in [*LAUNCHER["head_start_ray_commands"], *LAUNCHER["worker_start_ray_commands"]]:
        yield from (("cluster.yaml", variable) for variable in re.findall(r"(?:^|\s)([A-Z]\w+)=", line))
    for block in re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE):
        yield from (("Dockerfile", variable) for variable in re.findall(r"(\w+)=", block))


def test_variables_are_settings_or_rays() -> None:
    known = SETTINGS | RAY_VARIABLES | set(NODE_ENVIRONMENT) | {"PATH", "PYTHONUNBUFFERED"}
    found = list(environments())
    assert {variable for _, variable in found} >= {"NODE_KINDS", "HOST", "RAY_AUTH_TOKEN", "DATA_DIR"}
    assert [pair for pair in found if pair[1] not in known] == []


def test_nodes_get_the_environment_that_the_code_gives() -> None:
    lines = [line for line in FILES["deploy/ray.env"].splitlines() if line and not line.startswith("#")]
    assert dict(line.split("=", 1) for line in lines) == NODE_ENVIRONMENT


def resources() -> Iterator[dict[str, float]]:
    """What the nodes of each file carry, file by file."""
    compose: dict[str, float] = {}
    for service in COMPOSE["services"].values():
        for word in service.get("command", []):
            if word.startswith("--resources="):
                compose |= json.loads(word.partition("=")[2])
    yield compose
    kuberay: dict[str, float] = {}
    for group in KUBERAY[0]["spec"]["workerGroupSpecs"]:
        kuberay |= json.loads(json.loads(group["rayStartParams"]["resources"]))
    yield kuberay
    launcher: dict[str, float] = {}
    for kind in LAUNCHER["available_node_types"].values():
        launcher |= {name: amount for name, amount in kind["resources"].items() if name != "CPU"}
    yield launcher


def test_every_kind_of_actor_has_nodes_in_every_file() -> None:
    for carried in resources():
        assert carried == dict.fromkeys(NODE_KINDS, 1)
    kinds = [
        COMPOSE["services"]["up"]["environment"]["NODE_KINDS"],
        *re.findall(r"NODE_KINDS=([\w,]+)", FILES["cluster.yaml"]),
        *(
            one["value"]
            for _, box in containers()
            for one in box.get("env", [])
            if one["name"] == "NODE_KINDS"
        ),
    ]
    assert len(kinds) == 3
    assert all(set(value.split(",")) == set(NODE_KINDS) for value in kinds)


def test_the_launchers_file_fits_rays_schema() -> None:
    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())
    jsonschema.validate(LAUNCHER, schema)
    assert LAUNCHER["head_node_type"] in LAUNCHER["available_node_types"]
    for kind in LAUNCHER["available_node_types"].values():
        assert kind["min_workers"] <= kind["max_workers"] <= LAUNCHER["max_workers"]
    for local in LAUNCHER["file_mounts"].values():
        assert (ROOT / local).exists() or local in ("ray_token", "server.env")  # which the file says to make


def test_compose_hangs_together() -> None:
    services, networks, volumes = (COMPOSE[part] for part in ("services", "networks", "volumes"))
    known = {
        *(
            "image",
            "build",
            "init",
            "restart",
            "env_file",
            "shm_size",
            "ulimits",
            "stop_grace_period",
            "networks",
        ),
        *("environment", "volumes", "healthcheck", "command", "hostname", "ports", "depends_on", "deploy"),
    }
    for name, service in services.items():
        assert set(service) <= known, name
        assert set(service["networks"]) <= set(networks)
        for other, terms in service.get("depends_on", {}).items():
            assert terms == {"condition": "service_healthy"}
            assert other in services
            # Else Compose waits for ever: the gateways' comes from the image.
            assert "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in volumes, volume
        if "env_file" in service:
            assert (ROOT / service["env_file"]).is_file()
    assert [name for name, service in services.items() if "outside" in service["networks"]] == [
        "head",
        "nginx",
    ]
    assert services["head"]["ports"] == ["127.0.0.1:8265:8265"]  # Ray's dashboard is nobody else's business
    assert services["worker"]["deploy"]["replicas"] == 2


def test_compose_gives_no_secret_away_and_demands_all() -> None:
    text = FILES["docker-compose.yml"]
    for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "INTERNAL_TOKEN", "RAY_AUTH_TOKEN"):
        assert re.search(rf"\$\{{{secret}:\?", text), f"{secret} may be empty"
        assert secret in text.partition("name: doorstep")[0], f"nobody is told how to make {secret}"


def test_compose_publishes_on_loopback_and_puts_no_secret_on_a_command_line() -> None:
    for name, service in COMPOSE["services"].items():
        for published in service.get("ports", []):
            assert re.sub(r"\$\{\w+:-(.*)\}", r"\1", published).startswith("127.0.0.1:"), name
        for place in ("command", "healthcheck"):
            # What Compose puts in stands in the process's arguments; `$$` is left to a shell in the container.
            assert not re.findall(r"(?<!\$)\$\{?\w+", str(service.get(place, ""))), (name, place)
    assert re.match(r"\$\{DOORSTEP_ENV:\?", COMPOSE["services"]["up"]["environment"]["DOORSTEP_ENV"])


def test_kubernetes_file_hangs_together() -> None:
    cluster, *others = KUBERAY
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert spec["rayVersion"] == ray.__version__
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["gcsFaultToleranceOptions"]["redisAddress"].startswith("redis://")
    labels = {}
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        labels[group["groupName"]] = group["template"]["metadata"]["labels"]
        pod = group["template"]["spec"]
        if group["groupName"] != "solver":
            [container] = pod["containers"]
            assert container["lifecycle"]["preStop"]["exec"]["command"][:2] == ["doorstep", "drain"]
            assert pod["terminationGracePeriodSeconds"] >= 2 * 5 + 15 + 15  # DRAIN_S, and Ray's own end
    kinds = [document["kind"] for document in others]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "PodDisruptionBudget"]
    selected = [
        others[1]["spec"]["selector"],
        *(one["spec"]["selector"]["matchLabels"] for one in others[2:]),
    ]
    assert all(selector in labels.values() for selector in selected)
    deployment = others[0]["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    for _, container in containers():
        for probe in ("readinessProbe", "livenessProbe"):
            if probe in container:
                assert container[probe]["httpGet"]["port"] in {one["name"] for one in container["ports"]}


def test_ports_are_the_servers() -> None:
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert re.search(rf"server gateway:{PORT} ", NGINX)
    gateway = next(box for place, box in containers() if place.endswith("gateway"))
    assert gateway["ports"] == [{"name": "http", "containerPort": PORT}]
    assert next(row.default for row in explain_settings() if row.name == "PORT") == str(PORT)
    [published] = COMPOSE["services"]["nginx"]["ports"]
    assert f"listen {published.rpartition(':')[2]} " in NGINX


def test_nginx_lets_sockets_through_and_nothing_internal() -> None:
    assert NGINX.count("{") == NGINX.count("}")
    lines = [line.partition(" #")[0].strip() for line in NGINX.splitlines()]
    assert all(not line or line.endswith((";", "{", "}")) for line in lines if not line.startswith("#"))
    for needed in (
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection $connection_upgrade;",
        "location /internal/ { return 404; }",
        "location = /metrics { return 404; }",
    ):
        assert needed in lines or needed in [line.partition(" #")[0] for line in lines]
    seconds = int(re.search(r"proxy_read_timeout (\d+)s;", NGINX)[1])  # type: ignore[index]
    heartbeat = float(next(row.default for row in explain_settings() if row.name == "WS_HEARTBEAT_S"))
    assert seconds >= 4 * heartbeat
    assert COMPOSE["services"]["up"]["environment"]["TRUSTED_PROXIES"] == "1"


def test_what_the_image_copies_is_there() -> None:
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = [source for line in sources for source in line.split()]
    allowed = {line.removeprefix("!") for line in FILES[".dockerignore"].splitlines() if line.startswith("!")}
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in allowed or f"{source.partition('/')[0]}/" in allowed, f"{source} is ignored"
    packages = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    assert {source.rstrip("/") for source in copied} >= set(re.findall(r'"(\w+)"', packages[1]))


def test_the_image_is_built_and_run_with_care() -> None:
    for needed in ("--require-hashes -r /tmp/requirements.lock", "USER doorstep", "HEALTHCHECK", "npm ci"):
        assert needed in DOCKERFILE
    assert re.search(r'^ENTRYPOINT \["tini", "--"\]$', DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages[-1].endswith("-slim")


@pytest.mark.parametrize("name", FILES)
def test_no_machine_and_no_registry_is_named(name: str) -> None:
    text = FILES[name]
    for image in re.findall(r"^\s*(?:FROM|image:|- image:)\s+\"?([^\s\"]+)", text, re.MULTILINE):
        assert IMAGE.fullmatch(image), image
    assert not re.search(r"/(?:home|Users|root|work)/", text)
    addresses = re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", text)
    assert set(addresses) <= {"127.0.0.1", "0.0.0.0", "127.0.0.11"}
