"""Every payload type and key with what user enrollment makes of it, so that nobody plans what a phone will not do."""

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from portal.policies import catalogue
from portal.web.admin import blueprint

LONGEST_SEARCH = 100


@blueprint.get("/policies/catalogue")
def policy_catalogue() -> ResponseReturnValue:
    """The types, by title; only what applies in user enrollment unless somebody wants to see all."""
    words = request.args.get("search", "")[:LONGEST_SEARCH]
    everything = request.args.get("all") == "yes"
    known = catalogue.load()
    found = known.search(words, usable_only=not everything)
    return render_template(
        "admin/policy_catalogue.html",
        found=[(payload, keys if words.strip() else []) for payload, keys in found],
        search=words,
        everything=everything,
        usable=len(known.usable()),
        all=len(known.payloads),
        known=known,
    )


@blueprint.get("/policies/catalogue/<kind>")
def policy_payload(kind: str) -> ResponseReturnValue:
    """One type with all its keys."""
    known = catalogue.load()
    payload = known.payloads.get(kind)
    if payload is None:
        abort(404)
    everything = request.args.get("all") == "yes"
    keys = [(path, key) for path, key in payload.walk() if everything or key.usable or key.ue == "ignored"]
    return render_template(
        "admin/policy_payload.html",
        payload=payload,
        keys=keys,
        hidden=sum(1 for _ in payload.walk()) - len(keys),
        everything=everything,
        known=known,
    )
