"""Apple Business: the key pair, the server token, and whether Apple takes it, so that devices can be vouched for."""

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.apple_business import server_token
from portal.apple_business.server_token import TokenRefused
from portal.extensions import current_portal, db_session, transaction
from portal.storage import apple_business
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "apple_business_notice"
FILE = "enrollment-portal.pem"


@blueprint.get("/apple-business")
def apple_business_page() -> ResponseReturnValue:
    """Where one is: no key, a key, a token, and what Apple says of it."""
    return _page()


@blueprint.post("/apple-business/key")
@fresh_proof()
def make_apple_key() -> ResponseReturnValue:
    """The key pair, made here; the private key never leaves."""
    must_be_ours()
    with transaction():
        company = current_portal.settings.company.name
        apple_business.make_key(web_sessions.editor(), company)
    return _back("key")


@blueprint.get("/apple-business/key.pem")
def apple_key() -> ResponseReturnValue:
    """The certificate that Apple Business asks for."""
    held = apple_business.key(db_session, current_portal.vault)
    if held is None:
        abort(404)
    headers = {"Content-Disposition": f'attachment; filename="{FILE}"'}
    return Response(held.certificate.public_bytes(Encoding.PEM), mimetype="application/x-pem-file", headers=headers)


@blueprint.post("/apple-business/token")
@fresh_proof()
def save_apple_token() -> ResponseReturnValue:
    """The downloaded server token; Apple is asked what the server is called."""
    must_be_ours()
    held = apple_business.key(db_session, current_portal.vault)
    if held is None:
        abort(404)
    upload = request.files.get("token")
    content = upload.stream.read(server_token.LARGEST + 1) if upload is not None else b""
    try:
        token = server_token.read(content, held, clock.now())
    except TokenRefused as refusal:
        return _page(refusal.code), 422
    address = current_portal.settings.mdm.apple_business
    server, problem = apple_business.ask(address, token)
    with transaction():
        apple_business.keep(web_sessions.editor(), token, server, problem, address)
    return _back("saved" if server is not None else "not_asked")


@blueprint.post("/apple-business/look")
def look_at_apple() -> ResponseReturnValue:
    """Ask Apple again now."""
    must_be_ours()
    if apple_business.known(db_session) is None:
        abort(404)
    address = current_portal.settings.mdm.apple_business
    server, problem = apple_business.ask(address, apple_business.token(db_session, current_portal.vault, address))
    with transaction():
        apple_business.asked(db_session, server, problem, clock.now())
    return _back("saved" if server is not None else "not_asked")


@blueprint.post("/apple-business/forget")
@fresh_proof()
def forget_apple() -> ResponseReturnValue:
    """Give up token and key."""
    must_be_ours()
    with transaction():
        apple_business.forget(web_sessions.editor())
    return _back("forgotten")


def _page(problem: str = "") -> str:
    return render_template(
        "admin/apple_business.html",
        key=apple_business.key(db_session, current_portal.vault),
        known=apple_business.known(db_session),
        elsewhere=current_portal.backend.elsewhere,
        problem=problem,
        now=clock.now(),
        notice=session.pop(NOTICE, None),
    )


def _back(notice: str) -> ResponseReturnValue:
    session[NOTICE] = notice
    return redirect(url_for("admin.apple_business_page"), 303)
