"""Commands for the settings and policies: as a file, compared, brought in; and settings that lock out undone."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from portal import jobs
from portal.cli.common import editor, fail
from portal.extensions import current_portal
from portal.policies import portable as policies_portable
from portal.policies.portable import NotReadable, Written
from portal.settings import portable, saving
from portal.settings.overlay import NotValid
from portal.settings.references import Sources
from portal.settings.saving import LocksOut, SettingsEditor
from portal.storage import policy_files

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
config = AppGroup("config", help="The settings that count now, and the policies.")


@config.command("export", with_appcontext=True)
def export() -> None:
    """Print every setting that can be changed at run time, and every policy, as TOML; secrets by reference."""
    current_portal.refresh(0)
    with current_portal.database.session() as session:
        written = policy_files.all_written(session, current_portal.vault)
    policies = {policies_portable.TABLE: [policies_portable.table(each) for each in written]} if written else {}
    click.echo(portable.export(current_portal.settings, policies), nl=False)


@config.command("diff", with_appcontext=True)
@FILE
def diff(file: Path) -> None:
    """Say what FILE would change; exit status 1 if anything."""
    current_portal.refresh(0)
    now = current_portal.settings
    try:
        values, policies = _read(file)
        changes = portable.differences(values, now)
        with current_portal.database.session() as session:
            of_policies = policy_files.differences(session, current_portal.vault, policies)
    except NotValid as refused:
        fail(_says(refused))
    except NotReadable as refused:
        fail(str(refused))
    for name, (before, then) in changes.items():
        click.echo(f"{name}: {json.dumps(before)} -> {json.dumps(then)}")
    for name, what in of_policies:
        click.echo(f"policy {json.dumps(name)}: {what}")
    if changes or of_policies:
        sys.exit(1)


@config.command("import", with_appcontext=True)
@FILE
@click.option("--dry-run", is_flag=True, help="Only check.")
@click.option("--force", is_flag=True, help="Even if no admin could sign in any more.")
def import_(file: Path, dry_run: bool, force: bool) -> None:
    """Save the settings and publish the policies in FILE; all of them or, if one is wrong, none."""
    current_portal.refresh(0)
    try:
        values, policies = _read(file)
        with current_portal.database.transaction() as session:
            changed = saving.save(_editor(session), saving.IMPORT, values, confirmed=force)
            published = policy_files.bring_in(editor(session), policies)
            if dry_run:
                session.rollback()
    except NotValid as refused:
        fail(_says(refused))
    except NotReadable as refused:
        fail(str(refused))
    except LocksOut:
        fail("With these settings no admin could sign in any more. Nothing was changed; --force does it nevertheless.")
    click.echo(f"{len(changed)} settings {'would change' if dry_run else 'changed'}.")
    if policies:
        count = len({name for name, _ in published})
        click.echo(f"{count} policies {'would change' if dry_run else 'changed'}.")
    if published and not dry_run:
        jobs.nudge(current_portal.settings, jobs.POLICIES)


@config.command("reset", with_appcontext=True)
@click.argument("setting")
def reset(setting: str) -> None:
    """Forget what was saved for SETTING, a whole section, or "all": the files count again."""
    with current_portal.database.transaction() as session:
        prefix = "" if setting == "all" else setting
        names = saving.reset(_editor(session), prefix)
    click.echo("\n".join(names) if names else "Nothing was saved there.")


def _read(file: Path) -> tuple[dict[str, Any], list[Written]]:
    """The settings and the policies of a file. Raises NotValid, NotReadable."""
    tree = portable.parse(file.read_text("utf-8"))
    told = tree.pop(policies_portable.TABLE, [])
    if not isinstance(told, list):
        raise NotReadable(policies_portable.TABLE, "it is an array of tables")
    with current_portal.database.session() as session:
        held = lambda name: policy_files.held(session, current_portal.vault, name)  # noqa: E731
        policies = policies_portable.read(told, held, Sources(os.environ, current_portal.settings.data))
    return portable.read(tree, current_portal.settings), policies


def _says(refused: NotValid) -> str:
    return "\n".join(f"{each.name}: {each.says}" for each in refused.problems)


def _editor(session: Session) -> SettingsEditor:
    return SettingsEditor(**vars(editor(session)), base=current_portal.live.base)
