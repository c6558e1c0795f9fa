"""What the documentation says of commands, addresses and settings is what there is."""

from collections.abc import Iterator

import click
import pytest

from portal.settings import ROOT, overlay

FLASK_S_OWN = {"run", "shell", "routes"}


def commands_of(group: click.Group, *names: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, *names, name)
        else:
            yield " ".join((*names, name))


def test_every_command_is_in_the_table_for_operators(app):
    told = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    table = "\n".join(line for line in told.splitlines() if line.startswith("| `flask"))
    known = {each for each in commands_of(app.cli) if each not in FLASK_S_OWN}
    assert {each for each in known if not all(word in table for word in each.split())} == set()


def test_every_address_for_programs_is_in_the_readme(app):
    told = (ROOT / "README.md").read_text("utf-8")
    rules = [each for each in app.url_map.iter_rules() if each.rule.startswith("/api/")]
    for rule in rules:
        address = "/".join("<id>" if part.startswith("<") else part for part in rule.rule.split("/"))
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert f"`{method} {address}`" in told


@pytest.mark.parametrize("name", sorted(overlay.FIXED))
def test_what_only_the_file_can_say_is_called_so(name):
    told = (ROOT / "docs" / "settings.md").read_text("utf-8").partition("Only in\nthe file:")[2].partition("\n\n")[0]
    assert f"`{name}`" in told or f"`{name.partition('.')[0]}`" in told
