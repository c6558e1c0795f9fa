"""Commands for the settings: as a file, compared, brought in, and undone where they lock everybody out."""

import json
import sys
from pathlib import Path

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from portal import clock
from portal.cli.common import fail
from portal.events import Actor
from portal.extensions import current_portal
from portal.settings import portable, saving
from portal.settings.overlay import NotValid
from portal.settings.saving import Editor, LocksOut

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
config = AppGroup("config", help="The settings that count now.")


@config.command("export", with_appcontext=True)
def export() -> None:
    """Print every setting that can be changed while the portal runs, as TOML; secrets by reference."""
    current_portal.refresh(0)
    click.echo(portable.export(current_portal.settings), nl=False)


@config.command("diff", with_appcontext=True)
@FILE
def diff(file: Path) -> None:
    """Say what FILE would change; exit status 1 if anything."""
    current_portal.refresh(0)
    try:
        now = current_portal.settings
        changes = portable.differences(portable.read(file.read_text("utf-8"), now), now)
    except NotValid as refused:
        fail("\n".join(f"{each.name}: {each.says}" for each in refused.problems))
    for name, (now, then) in changes.items():
        click.echo(f"{name}: {json.dumps(now)} -> {json.dumps(then)}")
    if changes:
        sys.exit(1)


@config.command("import", with_appcontext=True)
@FILE
@click.option("--dry-run", is_flag=True, help="Only check.")
@click.option("--force", is_flag=True, help="Even if no admin could sign in any more.")
def import_(file: Path, dry_run: bool, force: bool) -> None:
    """Save the settings in FILE; all of them or, if one is wrong, none."""
    current_portal.refresh(0)
    try:
        values = portable.read(file.read_text("utf-8"), current_portal.settings)
        with current_portal.database.transaction() as session:
            changed = saving.save(_editor(session), saving.IMPORT, values, confirmed=force)
            if dry_run:
                session.rollback()
    except NotValid as refused:
        fail("\n".join(f"{each.name}: {each.says}" for each in refused.problems))
    except LocksOut:
        fail("With these settings no admin could sign in any more. Nothing was changed; --force does it nevertheless.")
    click.echo(f"{len(changed)} settings {'would change' if dry_run else 'changed'}.")


@config.command("reset", with_appcontext=True)
@click.argument("setting")
def reset(setting: str) -> None:
    """Forget what was saved for SETTING, a whole section, or "all": the files count again."""
    with current_portal.database.transaction() as session:
        prefix = "" if setting == "all" else setting
        names = saving.reset(_editor(session), prefix)
    click.echo("\n".join(names) if names else "Nothing was saved there.")


def _editor(session: Session) -> Editor:
    return Editor(session, current_portal.vault, current_portal.live.base, Actor.COMMAND, clock.now())
