"""The examples in ``config/`` name what exists: settings, commands, flags, files; nginx itself reads its own."""

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from portal.settings import ROOT, load, overlay
from portal.simulator import nanomdm
from tests.peers.proxy import Proxy, needs_nginx
from tests.servers import portal_server
from tests.tools import needs_nanomdm

CONFIG = ROOT / "config"
UNITS = sorted((CONFIG / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((CONFIG / "compose" / "compose.yaml").read_text())
SETTINGS = {f"PORTAL_{name.upper().replace('.', '_')}" for name in {*overlay.names(), *overlay.FIXED}}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = {"PORTAL_CONFIG", "PORTAL_KEY", "PORTAL_SECTION_KEY", "PORTAL_TEST_DATABASE_URL", "PORTAL_TEST_NODE_MODULES"}


def unit(path):
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str
    parsed.read(path)
    return parsed


def texts():
    paths = [*UNITS, *(CONFIG / "compose").iterdir(), *PAGES]
    return [(path.name, path.read_text()) for path in paths]


@pytest.mark.parametrize(("name", "text"), texts(), ids=lambda value: value[:30])
def test_every_variable_is_a_setting(name, text):
    named = set(re.findall(r"\bPORTAL_[A-Z0-9_]+\b", text))
    assert {each for each in named if not each.endswith("_")} - SETTINGS - OTHERS == set()


def test_the_production_example_is_a_configuration(monkeypatch):
    monkeypatch.setenv("PORTAL_CONFIG", str(CONFIG / "production.example.toml"))
    settings = load()
    assert settings.public_url == "https://enroll.example.com"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_what_exists(path):
    service = unit(path)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.startswith("/opt/enrollment-portal/.venv/bin/") or program == "/usr/local/bin/nanomdm"
    assert all((ROOT / each).exists() for each in arguments if each.startswith("config/"))
    assert service["NoNewPrivileges"] == "true"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["SystemCallFilter"] == "@system-service"


def nanomdm_arguments():
    yield unit(CONFIG / "systemd" / "nanomdm.service")["Service"]["ExecStart"].partition(" ")[2]
    yield COMPOSE["services"]["nanomdm"]["command"]


@needs_nanomdm
def test_nanomdm_knows_every_flag_and_variable():
    known = subprocess.run([nanomdm.found_program(), "-help"], capture_output=True, text=True).stderr
    for arguments in nanomdm_arguments():
        flags = [each for each in shlex.split(arguments) if each.startswith("-")]
        assert flags
        for flag in flags:
            assert f"  {flag} " in known, flag
    for variable in COMPOSE["services"]["nanomdm"]["environment"]:
        flag = variable.removeprefix("NANOMDM_").lower().replace("_", "-")
        assert f"  -{flag} " in known, variable


def test_nanomdm_and_portal_agree_where_they_find_each_other():
    for arguments in nanomdm_arguments():
        assert "-listen 127.0.0.1:9000" in arguments  # nobody but nginx reaches it
        assert "-webhook-url http://127.0.0.1:8000/hooks/nanomdm" in arguments
    assert COMPOSE["x-portal"]["environment"]["PORTAL_NANOMDM_API_URL"] == "http://127.0.0.1:9000"


def test_the_compose_file_holds_together():
    services, variables = COMPOSE["services"], set()
    for line in (CONFIG / "compose" / "environment.example").read_text().splitlines():
        if line and not line.startswith("#"):
            variables.add(line.partition("=")[0])
    text = (CONFIG / "compose" / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= variables
    made_by_the_reader = {"nginx.conf", "nanomdm-schema.sql"}
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        assert set(service.get("depends_on", {})) <= set(services)
        for mounted in service.get("volumes", []):
            source = mounted.partition(":")[0]
            if source.startswith("."):
                path = CONFIG / "compose" / source
                assert path.exists() or path.name in made_by_the_reader, source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"], source
    dockerfile = CONFIG / "compose" / services["web"]["build"]["dockerfile"].removeprefix("config/compose/")
    assert dockerfile.exists()
    assert "ports" not in services["nanomdm"]


@needs_nginx
def test_nginx_forwards_people_limits_people_and_newcomers_and_hides_the_hooks(tmp_path):
    """Without a portal behind it: who gets nginx's own refusals, and who its outage."""
    proxy = Proxy(tmp_path / "nginx", 1, 1)
    proxy.start()
    try:
        with httpx.Client(base_url=proxy.url, verify=False) as client:
            assert client.post("/hooks/nanomdm").status_code == 404
            assert client.get("/mdm/authorize").status_code == 404  # only nginx itself may ask
            assert client.put("/mdm/relay").status_code == 404
            for path in ("/readyz", "/healthz", "/metrics"):
                assert client.get(path).status_code == 404
                assert client.get(proxy.url + "/" + path).status_code == 404
            kind = "application/x-apple-aspen-mdm"
            for sent in (kind, f"{kind}-checkin", f"{kind}; charset=UTF-8"):
                later = client.put("/mdm/connect", content=b"x", headers={"Content-Type": sent})
                assert (later.status_code, later.headers["Retry-After"]) == (503, "60"), sent
            for sent in ("", "text/plain", kind.upper(), f"{kind}x", f"x{kind}", f"{kind}-checkinx", "application/xml"):
                refused = client.put("/mdm/connect", content=b"x", headers={"Content-Type": sent})
                assert refused.status_code == 415, sent
            for path in ("//mdm/connect", "/mdm/./connect", "/mdm/%63onnect", "/x/../mdm/connect"):
                assert client.put(proxy.url + path, content=b"x").status_code == 415, path
            assert {client.get("/enroll").status_code for _ in range(20)} == {502}
            people = [client.get("/enroll").status_code for _ in range(400)]
            sign_ins = [client.post("/apple/enroll/sign-in").status_code for _ in range(300)]
            newcomers = [client.get("/scep").status_code for _ in range(400)]
            devices = [client.get("/.well-known/com.apple.remotemanagement").status_code for _ in range(400)]
            assert client.post("/apple/enroll", content=b"x" * 70_000).status_code in (413, 429)
        assert 429 in people
        assert 429 in sign_ins
        assert 429 in newcomers
        assert set(newcomers[:150]) == {502}
        assert set(devices) == {502}
    finally:
        proxy.stop()


@needs_nginx
def test_stylesheets_and_scripts_are_sent_compressed_and_pages_are_not(tmp_path):
    with portal_server(tmp_path / "portal") as server:
        proxy = Proxy(tmp_path / "nginx", server.port)
        proxy.start()
        try:
            with httpx.Client(base_url=proxy.url, verify=False) as client:
                encoding = {
                    path: client.get(path).headers.get("Content-Encoding")
                    for path in ("/static/portal.css", "/static/staff.css", "/static/page.js", "/staff/sign-in")
                }
        finally:
            proxy.stop()
    assert encoding.pop("/staff/sign-in") is None
    assert set(encoding.values()) == {"gzip"}


def test_the_examples_that_the_documentation_names_exist():
    named = {name for page in PAGES for name in re.findall(r"\bconfig/[\w./-]+\w", page.read_text())}
    assert len(named) > 5
    assert [each for each in sorted(named) if not Path(ROOT / each).exists()] == []
