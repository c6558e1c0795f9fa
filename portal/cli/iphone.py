"""The simulated iPhone as a command."""

from pathlib import Path

import click
from flask.cli import AppGroup

from portal import demo
from portal.cli.common import fail
from portal.extensions import current_portal
from portal.simulator import demo_apps
from portal.simulator.employee import Employee, Stuck
from portal.simulator.iphone import IPhone, SignInAgain, Unenrolled
from portal.simulator.mail import NoMail, demo_mail
from portal.simulator.model import MODELS
from portal.simulator.scep_client import InstallationFailed
from portal.simulator.settings_app import SettingsApp

iphone = AppGroup("iphone", help="A simulated iPhone.")


@iphone.command("install", with_appcontext=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def iphone_install(file: Path) -> None:
    """Enroll with a downloaded .mobileconfig FILE."""
    phone = demo_apps.at_home(current_portal.settings.data, IPhone())
    try:
        for line in phone.install(file.read_bytes()):
            click.echo(line)
    except (InstallationFailed, Unenrolled) as error:
        fail(f"Not installed: {error}")
    phone.save(_phone_file(phone.enrollment_id))
    click.echo(f"enrolled as {phone.enrollment_id}")


@iphone.command("sign-in", with_appcontext=True)
@click.argument("account")
@click.option("--server", required=True, help="Stands for https://DOMAIN of the account, e.g. http://127.0.0.1:8000.")
@click.option("--username", help="Who signs in; in the demo found by the account.")
@click.option("--password", help="Asked for when not known.")
@click.option("--passcode", help="From the mail; in the demo read there.")
@click.option("--ios", type=click.Choice([str(each) for each in MODELS]), default="18")
def iphone_sign_in(
    account: str, server: str, username: str | None, password: str | None, passcode: str | None, ios: str
) -> None:
    """Enroll from Settings with the Managed Apple Account ACCOUNT (user@domain)."""
    known = _demo_account(account)
    username = username or known.get("username") or account
    password = password or known.get("password") or click.prompt("Password", hide_input=True)
    mailed = demo_mail(current_portal.settings.data)
    employee = Employee(server, click.echo, MODELS[int(ios)].user_agent())

    def owner(url: str) -> str:
        return employee.walk_web_view(url, username, password, lambda: passcode or mailed(f"{username}@"))

    settings_app = SettingsApp(demo_apps.at_home(current_portal.settings.data, IPhone(model=MODELS[int(ios)])))
    try:
        for line in settings_app.sign_in(account, owner, server):
            click.echo(line)
    except (InstallationFailed, Unenrolled, SignInAgain, Stuck, NoMail) as error:
        fail(f"Not enrolled: {error}")
    phone = settings_app.phone
    phone.save(_phone_file(phone.enrollment_id))
    click.echo(f"enrolled as {phone.enrollment_id}")


def _demo_account(account: str) -> dict[str, str]:
    try:
        found = demo.accounts(current_portal.settings)
    except demo.NotADemo:
        return {}
    return next((each for each in found if each["managed_apple_account"] == account), {})


@iphone.command("connect", with_appcontext=True)
@click.argument("enrollment_id")
def iphone_connect(enrollment_id: str) -> None:
    """Ask the server for commands and answer them."""
    phone = _phone(enrollment_id)
    try:
        click.echo("\n".join(phone.connect()) or "no commands")
    except (InstallationFailed, Unenrolled, SignInAgain) as error:
        fail(f"Refused: {error}")
    phone.save(_phone_file(enrollment_id))


@iphone.command("remove", with_appcontext=True)
@click.argument("enrollment_id")
def iphone_remove(enrollment_id: str) -> None:
    """The owner removes the profile: CheckOut."""
    try:
        _phone(enrollment_id).remove()
    except (InstallationFailed, Unenrolled) as error:
        fail(f"Refused: {error}")
    _phone_file(enrollment_id).unlink()
    click.echo("removed")


def _phone(enrollment_id: str) -> IPhone:
    path = _phone_file(enrollment_id)
    if not path.exists():
        fail(f"No simulated iPhone is enrolled as {enrollment_id!r}.")
    return demo_apps.at_home(current_portal.settings.data, IPhone.load(path))


def _phone_file(enrollment_id: str) -> Path:
    return current_portal.settings.data / "iphones" / f"{Path(enrollment_id).name}.json"
