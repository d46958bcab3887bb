"""The container's files in deploy/: they fit each other, the program, and its defaults."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from proxy.config import Address
from proxy.config.file import load
from tests.authority import Authority
from tests.programs import Hopward, requires

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = re.sub(r"\\\n\s*", "", DEPLOY.joinpath("Dockerfile").read_text("utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load(DEPLOY.joinpath("compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HOPWARD = SERVICES["hopward"]
SITES: dict[str, str] = yaml.safe_load(DEPLOY.joinpath("hopward/hopward.yml").read_text("utf-8"))[
    "sites"
]


def instructions(name: str) -> list[str]:
    """What the Dockerfile says after each instruction of that name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def mounts(service: str) -> dict[str, Path]:
    """Where in the container each folder or file of the checkout is seen."""
    pairs = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    return {pair[1]: DEPLOY / pair[0] for pair in pairs if pair[0].startswith(".")}


# ---- the image


def test_the_program_runs_as_a_user_that_is_not_root() -> None:
    assert all(int(number) > 0 for number in instructions("USER")[-1].split(":"))


def test_all_that_the_image_is_made_of_is_sent_to_the_builder() -> None:
    sent = set(
        re.findall(r"^!(.+)$", ROOT.joinpath(".dockerignore").read_text("utf-8"), re.MULTILINE)
    )
    copied = [each for each in instructions("COPY") if not each.startswith("--from")]
    named = {name for each in copied for name in each.split()[:-1]}
    assert named == sent
    assert [name for name in named if not ROOT.joinpath(name).exists()] == []


def test_every_package_of_the_program_is_in_the_image() -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages <= {name for each in instructions("COPY") for name in each.split()}


@pytest.fixture
def health(tmp_path: Path) -> Callable[[dict[str, object]], tuple[int, str]]:
    """Runs a proxy with one site, and asks after its health as the image does."""

    def check(site: dict[str, object]) -> tuple[int, str]:
        listen = {"https": "127.0.0.1:0", "http": False, "admin": "127.0.0.1:0"}
        config = {
            "listen": listen,
            "workers": 1,
            "store": str(tmp_path / "store"),
            "acme": {"directory": "https://127.0.0.1:9/directory"},
            "sites": {"api.example.com": {"to": "http://127.0.0.1:9", **site}},
        }
        with Hopward(tmp_path / "hopward", config) as hopward:
            admin = hopward.ready()["admin"][0].rpartition(":")[2]
            done = subprocess.run(
                _health_command(admin), capture_output=True, text=True, check=False, timeout=30
            )
        return done.returncode, done.stdout

    return check


def _health_command(port: str) -> list[str]:
    [line] = instructions("HEALTHCHECK")
    command: list[str] = json.loads(line.partition("CMD ")[2])
    assert command[0] == "python3"
    return [sys.executable, *(word.replace("9180", port) for word in command[1:])]


def test_the_image_is_healthy_while_every_certificate_is_valid(
    health: Callable[[dict[str, object]], tuple[int, str]], tmp_path: Path
) -> None:
    assert health({"tls": Authority(tmp_path).pair("api.example.com").tls()}) == (0, "ok\n\n")


def test_the_image_is_unhealthy_while_a_certificate_is_missing_and_says_which(
    health: Callable[[dict[str, object]], tuple[int, str]],
) -> None:
    code, said = health({})
    assert code == 1
    assert "api.example.com" in said


# ---- compose


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_a_container_is_to_see_is_there(service: str) -> None:
    missing = [path for path in mounts(service).values() if not path.exists()]
    assert missing == []


def test_the_container_has_neither_rights_nor_places_to_write_but_the_store() -> None:
    assert HOPWARD["read_only"] is True
    assert HOPWARD["cap_drop"] == ["ALL"]
    assert HOPWARD["security_opt"] == ["no-new-privileges:true"]
    assert instructions("VOLUME") == ["/var/lib/hopward"]
    written = [each for each in HOPWARD["volumes"] if not each.endswith(":ro")]
    assert written == ["hopward:/var/lib/hopward"]


def test_docker_waits_longer_than_the_drain() -> None:
    drain = load(DEPLOY / "hopward/hopward.yml").config.timeouts.drain
    assert drain is not None
    assert int(HOPWARD["stop_grace_period"].removesuffix("s")) >= drain + 10


def test_the_admin_listener_is_for_the_compose_network_alone() -> None:
    admin = load(DEPLOY / "hopward/hopward.yml").config.listen.admin
    assert isinstance(admin, Address)
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.split(":")[-1] != str(admin.port) for port in published)
    jobs = yaml.safe_load(DEPLOY.joinpath("prometheus.yml").read_text("utf-8"))["scrape_configs"]
    [targets] = [job["static_configs"] for job in jobs if job["job_name"] == "hopward"]
    assert targets == [{"targets": [f"hopward:{admin.port}"]}]


@pytest.mark.parametrize("to", SITES.values())
def test_each_site_leads_to_a_service_of_the_network(to: str) -> None:
    assert urlsplit(to).hostname in SERVICES


def test_the_tracker_listens_where_the_sites_lead_and_believes_the_proxy() -> None:
    tracker = tomllib.loads(DEPLOY.joinpath("tracker.toml").read_text("utf-8"))
    assert tracker["core"]["net"]["on_reverse_proxy"] is True
    listening = {tracker["http_api"]["bind_address"]}
    listening |= {each["bind_address"] for each in tracker["http_trackers"]}
    asked = {urlsplit(to).port for to in SITES.values() if urlsplit(to).hostname == "tracker"}
    assert asked == {int(address.rpartition(":")[2]) for address in listening}


def test_only_the_proxy_is_reached_from_outside_by_tcp() -> None:
    for name, service in SERVICES.items():
        if name != "hopward":
            assert all(port.endswith("/udp") for port in service.get("ports", []))


@requires("promtool", "apt-get install prometheus")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    # As they lie in the container: the rules beside the configuration.
    for inside, here in mounts("prometheus").items():
        target = tmp_path / Path(inside).relative_to("/etc/prometheus")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(here)
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout
