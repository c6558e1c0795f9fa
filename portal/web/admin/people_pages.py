"""People and staff: finding somebody, adding a local account, roles, second factors, disabling and erasing."""

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from wtforms import StringField
from wtforms.validators import DataRequired, Length, Regexp, ValidationError

from portal import mail_addresses, people
from portal.credentials import passwords, second_factor
from portal.extensions import cases, current_portal, db_session, transaction
from portal.lifecycle import closing
from portal.models import LONGEST_NAME, LONGEST_PHONE, LONGEST_USERNAME, Device, EnrollmentRequest, Person
from portal.people import ROLES, LastAdmin, accounts
from portal.storage import search
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.rules import Form
from portal.web.staff.proof import fresh_proof

PAGE_SIZE = 50
NOTICE = "people_notice"
ACTIONS = ("role", "disable", "enable", "password-link", "second-factor", "unlock-factor", "erase")


class ActionForm(Form):
    """A button, and what may be typed beside it."""

    confirm = StringField(validators=[Length(max=LONGEST_USERNAME)])


def _mail_address(_form: Form, field: StringField) -> None:
    if not mail_addresses.usable(field.data or ""):
        raise ValidationError("email_form")


class DetailsForm(Form):
    """What is known of somebody and may be corrected."""

    name = StringField(validators=[DataRequired("name_missing"), Length(max=LONGEST_NAME, message="name_long")])
    email = StringField(validators=[_mail_address])
    managed_apple_account = StringField(validators=[Length(max=254)])
    phone = StringField(
        validators=[
            Regexp(r"^(\+?[\d ()/.-]{5,})?$", message="phone_form"),
            Length(max=LONGEST_PHONE, message="phone_form"),
        ]
    )

    def account_for(self, person_id: str | None) -> str | None:
        """The Managed Apple Account that was typed, as it is kept. Raises ValidationError with what is wrong."""
        typed = self.managed_apple_account.data
        account = accounts.normal(typed) if typed else None
        if typed and account is None:
            raise ValidationError("account_form")
        if account and accounts.taken(db_session, account, person_id):
            raise ValidationError("account_taken")
        return account


class PersonForm(DetailsForm):
    username = StringField(
        validators=[
            DataRequired("their_username_missing"),
            Length(max=LONGEST_USERNAME, message="username_long"),
            Regexp(r"^\S+$", message="username_spaces"),
        ]
    )
    role = StringField()


@blueprint.get("/people")
def people_page() -> ResponseReturnValue:
    """Staff first; with a search, whoever is found."""
    return _list(PersonForm())


def _changes_staff() -> bool:
    """Whether the request makes somebody staff, or changes how staff gets in."""
    person = db_session.get(Person, (request.view_args or {}).get("person_id", ""))
    is_staff = person is not None and person.role in people.STAFF_ROLES
    return is_staff or request.form.get("role", "") in people.STAFF_ROLES


@blueprint.post("/people")
@fresh_proof(_changes_staff)
def add_person() -> ResponseReturnValue:
    """A local account without a password yet: its owner chooses one with the mailed link."""
    form = PersonForm()
    if not form.validate_on_submit() or form.role.data not in ROLES:
        return _list(form), 422
    try:
        with transaction():
            account = form.account_for(None)
            person = Person(
                username=form.username.data,
                name=form.name.data.strip(),
                email=form.email.data.strip(),
                managed_apple_account=account,
                phone=(form.phone.data or "").strip() or None,
                role=form.role.data,
                locale=current_portal.settings.languages[0],
            )
            editor = web_sessions.editor()
            people.add(editor, person)
            passwords.mail_link(editor, person, current_portal.settings)
    except ValidationError as problem:
        form.managed_apple_account.errors = [str(problem)]
        return _list(form), 422
    except people.UsernameUnusable:
        form.username.errors = ["username_long" if form.username.data.isprintable() else "username_spaces"]
        return _list(form), 422
    except (people.UsernameTaken, IntegrityError):
        form.username.errors = ["username_exists"]
        return _list(form), 422
    session[NOTICE] = "added"
    return redirect(url_for("admin.person_page", person_id=person.id), 303)


@blueprint.get("/people/<person_id>")
def person_page(person_id: str) -> ResponseReturnValue:
    """What is known of one person, and what can be done."""
    return _page(_person(person_id))


@blueprint.post("/people/<person_id>/details")
@fresh_proof(_changes_staff)
def correct_person(person_id: str) -> ResponseReturnValue:
    """What an admin knows better; of people whom a source tells of, only what it does not tell."""
    person, form = _person(person_id), DetailsForm()
    if person.erased_at is not None or not _may_be_corrected(person):
        return redirect(url_for("admin.person_page", person_id=person_id), 303)
    if person.source != people.LOCAL:
        form.name.data, form.email.data, form.phone.data = person.name, person.email, person.phone or ""
        del form.name, form.email, form.phone
    if not form.validate_on_submit():
        return _page(person, details=form), 422
    try:
        with transaction():
            values = {"managed_apple_account": form.account_for(person_id)}
            if person.source == people.LOCAL:
                values |= {"name": form.name.data.strip(), "email": form.email.data.strip()}
                values["phone"] = (form.phone.data or "").strip() or None
            people.correct(web_sessions.editor(), person, values)
    except (ValidationError, IntegrityError) as problem:
        code = str(problem) if isinstance(problem, ValidationError) else "account_taken"
        form.managed_apple_account.errors = [code]
        return _page(person, details=form), 422
    session[NOTICE] = "details"
    return redirect(url_for("admin.person_page", person_id=person_id), 303)


def _may_be_corrected(person: Person) -> bool:
    """Whether something of somebody is kept here alone."""
    is_local = person.source == people.LOCAL
    return is_local or current_portal.settings.managed_apple_account.source == "import"


@blueprint.post("/people/<person_id>/<action>")
@fresh_proof(_changes_staff)
def change_person(person_id: str, action: str) -> ResponseReturnValue:
    """One of ACTIONS."""
    person, form = _person(person_id), ActionForm()
    if action not in ACTIONS:
        abort(404)
    if not form.validate_on_submit() or person.erased_at is not None:
        return redirect(url_for("admin.person_page", person_id=person_id), 303)
    if action == "erase" and people.fold_username(form.confirm.data or "") != person.username:
        form.confirm.errors = ["confirm_wrong"]
        return _page(person, form), 422
    try:
        with transaction():
            _change(db_session.get_one(Person, person_id, populate_existing=True), action)
        session[NOTICE] = action
    except LastAdmin:
        session[NOTICE] = "last_admin"
    except people.NotLocal:
        session[NOTICE] = "not_local"
    except people.IsDisabled:
        session[NOTICE] = "is_disabled"
    except people.DevicesManaged:
        session[NOTICE] = "devices_managed"
    return redirect(url_for("admin.person_page", person_id=person_id), 303)


def _change(person: Person, action: str) -> None:
    editor = web_sessions.editor()
    if action == "role":
        role = request.form.get("role", "")
        people.set_role(editor, person, role if role in ROLES else person.role)
    elif action == "disable":
        closing.disable(cases(), person, editor.actor)
    elif action == "enable":
        people.enable(editor, person)
    elif action == "password-link":
        passwords.mail_link(editor, person, current_portal.settings)
    elif action == "unlock-factor":
        second_factor.unlock(editor, person)
    elif action == "second-factor":
        second_factor.forget(editor, person)
    else:
        closing.erase(cases(), person, editor.actor)


def _list(form: PersonForm) -> str:
    asked = request.args.get("q", "").strip()
    query = select(Person).where(Person.erased_at.is_(None)).order_by(Person.name, Person.id).limit(PAGE_SIZE)
    found = search.people_by_words(asked)
    staff = Person.role.in_(people.STAFF_ROLES)
    query = query.where(Person.id.in_(found) if found is not None else staff)
    return render_template(
        "admin/people.html",
        form=form,
        search=asked,
        rows=list(db_session.scalars(query)),
        roles=ROLES,
        notice=session.pop(NOTICE, None),
    )


def _page(person: Person, form: ActionForm | None = None, details: DetailsForm | None = None) -> str:
    requests = db_session.scalars(
        select(EnrollmentRequest)
        .where(EnrollmentRequest.person_id == person.id)
        .order_by(EnrollmentRequest.created_at.desc())
        .limit(20)
    )
    return render_template(
        "admin/person.html",
        person=person,
        form=form or ActionForm(),
        account=accounts.of(db_session, person, current_portal.settings),
        requests=list(requests),
        roles=ROLES,
        has_second_factor=second_factor.has_one(db_session, person),
        factor_locked=second_factor.is_locked(db_session, person),
        local=person.source == people.LOCAL,
        details=details or DetailsForm(formdata=None, obj=person),
        correctable=_may_be_corrected(person),
        devices=cases().managed_devices(person),
        leaving=bool(person.disabled_at is None and _leaving(person)),
        notice=session.pop(NOTICE, None),
    )


def _leaving(person: Person) -> bool:
    """Whether a device of theirs was told to remove its work data, and did not yet."""
    theirs = select(EnrollmentRequest.id).where(EnrollmentRequest.person_id == person.id)
    going = select(Device.id).where(Device.request_id.in_(theirs), Device.is_managed, Device.leaving_at.is_not(None))
    return db_session.scalar(going.limit(1)) is not None


def _person(person_id: str) -> Person:
    person = db_session.get(Person, person_id)
    if person is None:
        abort(404)
    return person
