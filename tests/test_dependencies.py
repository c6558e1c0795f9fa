"""What is installed is exactly what was reviewed: every package, pinned, with hashes."""

import re

import pytest

from portal.settings import ROOT

ENTRY = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+) \\$", re.MULTILINE)


def locked(name):
    return dict(ENTRY.findall((ROOT / name).read_text()))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_with_hashes_and_comes_from_nowhere_in_particular(name):
    text = (ROOT / name).read_text()
    blocks = re.split(r"\n(?=[A-Za-z])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(blocks) > 40
    for block in blocks:
        assert re.match(r"[A-Za-z0-9_.-]+==\S+ \\\n(\s+--hash=sha256:[0-9a-f]{64}( \\)?\n?)+", block), block[:80]
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE), "an option would say where packages come from"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_what_is_locked_is_what_was_asked_for(name):
    asked = re.findall(
        r"^([A-Za-z0-9_.-]+)(?:\[\w+\])?==(\S+)", (ROOT / "config" / f"{name}.in").read_text(), re.MULTILINE
    )
    found = {key.casefold().replace("_", "-"): version for key, version in locked(f"{name}.txt").items()}
    assert asked
    for key, version in asked:
        assert found[key.casefold().replace("_", "-")] == version


def test_make_installs_nothing_else():
    installs = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line and "lock" not in line
    ]
    assert len(installs) == 2
    assert all("--require-hashes" in line for line in installs)
