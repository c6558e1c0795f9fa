"""Commands that set a portal up and keep it."""

import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding
from flask.cli import AppGroup

from portal import audit, backups, clock, installation, jobs
from portal.cli.common import command, editor, fail
from portal.events import Actor
from portal.extensions import current_portal
from portal.storage import brake, terms


@command("setup")
def setup() -> None:
    """Make keys, tables, CA and first terms; safe to repeat."""
    installation.setup(current_portal)


@command("worker")
def worker() -> None:
    """Deliver mail and clean up, until stopped."""
    jobs.Worker(current_portal.settings).run()


@command("ca")
def ca() -> None:
    """Print the CA certificate of devices' identities (PEM): what a device-management server has to trust."""
    certificate = current_portal.authority.ca.certificate
    click.echo(certificate.public_bytes(Encoding.PEM).decode(), nl=False)


audit_group = AppGroup("audit", help="The audit trail.")


@audit_group.command("verify", with_appcontext=True)
def audit_verify() -> None:
    """Check every chain; name the first broken link of each."""
    broken = audit.broken_links(current_portal.database)
    for chain, seq, problem in broken:
        click.echo(f"{chain} event {seq}: {problem}", err=True)
    if broken:
        sys.exit(1)
    click.echo("Every chain holds.")


keys = AppGroup("keys", help="The keys that seal stored secrets.")


@keys.command("rotate", with_appcontext=True)
@click.option("--drop-old", is_flag=True, help="Then forget the old ones: one leaked. Stop web and worker first.")
def keys_rotate(drop_old: bool) -> None:
    """Seal every stored secret with a new key; restart web and worker afterwards."""
    if len(current_portal.settings.secret_keys) == 1:
        fail("Put a new key before the one in PORTAL_SECRET_KEYS, restart web and worker, and rotate then.")
    click.echo(f"{installation.rotate_keys(current_portal, drop_old)} secrets sealed anew. Restart web and worker now.")
    if drop_old and current_portal.settings.secret_keys:
        click.echo("Now leave only the first key in PORTAL_SECRET_KEYS: the others are not needed any more.")


backup_group = AppGroup("backup", help="All that the portal keeps, but the secret keys, as one file.")


@backup_group.command("create", with_appcontext=True)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_create(file: Path) -> None:
    """Write FILE, sealed with the secret keys, while the portal runs; one that is there is replaced at the end."""
    try:
        made = backups.create(current_portal, file)
    except OSError as problem:
        fail(f"{file} cannot be written: {problem.strerror}.")
    click.echo(f"{made.rows} rows in {file}. Only the secret keys of now open it: keep them, elsewhere.")


@backup_group.command("restore", with_appcontext=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def backup_restore(file: Path) -> None:
    """Fill an empty database from FILE, with the secret keys of then in their place; web and worker stand still."""
    try:
        made = backups.restore(current_portal, file)
    except backups.BackupRefused as refused:
        fail(str(refused))
    click.echo(f"{made.rows} rows, as they were at {made.made_at:%Y-%m-%d %H:%M} UTC. Everybody signs in anew.")


removals = AppGroup("removals", help="Removals of work data that the brake holds.")


@removals.command("release", with_appcontext=True)
def removals_release() -> None:
    """Let what is held go on, where there are no two admins to agree."""
    with current_portal.database.transaction() as session:
        count = brake.waiting(session).count
        brake.release(session, Actor.COMMAND, clock.now())
    click.echo(f"{count} devices are asked to remove their work data.")


@removals.command("keep", with_appcontext=True)
def removals_keep() -> None:
    """It was a mistake: nothing of what is held is removed, but from people whose account is still disabled."""
    with current_portal.database.transaction() as session:
        count = brake.keep(session, Actor.COMMAND, clock.now())
    click.echo(f"{count} devices keep their work data.")


terms_group = AppGroup("terms", help="The license terms.")


@terms_group.command("publish", with_appcontext=True)
@click.argument("version")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def terms_publish(version: str, files: tuple[Path, ...]) -> None:
    """Publish VERSION from text FILES named after their language (en.txt, de.txt)."""
    contents = {file.stem: file.read_text("utf-8") for file in files}
    try:
        with current_portal.database.transaction() as session:
            terms.publish(editor(session), version, contents)
    except terms.TermsExist:
        fail(f"Version {version} was published already; a published text never changes.")
    except terms.TermsMissing as error:
        fail(str(error))
