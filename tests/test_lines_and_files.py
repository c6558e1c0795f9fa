"""No value makes a second log line, a header, or a formula in somebody's spreadsheet."""

import csv
import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.logs import OneLine
from portal.notifications import messages
from portal.web import spreadsheets
from tests.pages import BASE

NASTY = ("a\nb", "a\r\n2026-03-02 09:00:00,000 INFO portal.audit forged", "a\x1b[31mb", "a\u2028b", "a\x85b", "a\x00b",
         "\u202eb")  # fmt: skip


def written(message, *arguments, problem=None):
    record = logging.LogRecord("portal.x", logging.INFO, __file__, 1, message, arguments, None)
    if problem is not None:
        record.exc_info = (type(problem), problem, problem.__traceback__)
    return OneLine("%(asctime)s %(levelname)s %(name)s %(message)s").format(record)


@pytest.mark.parametrize("value", NASTY)
def test_whatever_is_logged_is_one_line(value):
    line = written("single_sign_on.refused reason=%s", value)
    assert len(line.splitlines()) == 1
    assert line.isprintable()


@pytest.mark.parametrize("value", NASTY)
def test_an_exception_goes_on_below_its_line_and_begins_none(value):
    try:
        raise ValueError(value)
    except ValueError as error:
        lines = written("unexpected", problem=error).splitlines()
    assert len(lines) > 2
    assert all(each.startswith("    ") for each in lines[1:])


@given(st.text())
def test_no_text_makes_a_second_line(value):
    assert len(written("event value=%s", value).splitlines()) == 1


def test_a_forged_line_from_the_single_sign_on_is_not_written(make_app, clock, capsys):
    """What was found: the provider's error, which the browser brings along, ended a line and began another."""
    providers = [{"name": "corp", "title": "C", "issuer": "https://id.example.com", "client_id": "p"}]
    app = make_app(oidc={"providers": providers})
    handler = logging.getLogger("portal").handlers[0]
    assert isinstance(handler.formatter, OneLine)
    app.test_client().get("/sign-in/corp/callback?state=S&error=x%0Aforged%20line", base_url=BASE)
    stream = io.StringIO()
    handler_of_ours = logging.StreamHandler(stream)
    handler_of_ours.setFormatter(handler.formatter)
    logging.getLogger("portal.test").addHandler(handler_of_ours)
    logging.getLogger("portal.test").warning("refused reason=%s", "x\nforged line")
    assert "\nforged" not in stream.getvalue()


@pytest.mark.parametrize("value", ["Erika\nBcc: eve@evil.example", "Erika\r\nX: y", "Erika\u2028Z"])
def test_no_name_makes_a_second_header_of_a_mail(company, portal, value):
    person = company.person(name="Erika")
    person.name = value
    invitation = company.invite(company.person("max"))
    invitation.request.person.name = value
    mail = messages.password_link(portal.settings, person, "https://portal.example.com/x")
    assert "Bcc" not in mail
    assert "X" not in mail
    assert len(mail["Subject"].splitlines()) == 1


# --- spreadsheets -----------------------------------------------------------------------------------------------------

CELLS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "17;=1+1;", "a|=1", "a;@x", "\uff1d1",
         "x;\uff0b1", "\x00=1", "a\t=1", "a,=1", ";=1", "; =1", ";;=1", "=;=", 'a;"=1', 'a;""=1', "a;'=1")  # fmt: skip
FORMULAS = "=+-@\uff1d\uff0b\uff0d\uff20"


def cells(rows, delimiter):
    text = "".join(spreadsheets.lines(rows)).removeprefix("\ufeff")
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("value", CELLS)
def test_no_cell_begins_a_formula_whatever_separator_its_reader_takes(value, delimiter):
    for row in ((value,), ("before", value), ("before", value, "after"), (value, value)):
        for cell in cells([row], delimiter):
            assert not cell.lstrip('" \t\r\n').startswith(tuple(FORMULAS)), cell


@given(st.lists(st.text(alphabet=st.sampled_from("=+-@;,|\t\r\n\"' a1\uff1d"), max_size=8), min_size=1, max_size=4))
def test_no_row_of_texts_begins_a_formula(row):
    for delimiter in (",", ";"):
        for cell in cells([row], delimiter):
            bare = cell.lstrip('" \t\r\n')
            assert not bare.startswith(tuple(FORMULAS)), (cell, delimiter)


def test_plain_cells_and_numbers_stay_what_they_are():
    assert cells([("Erika Muster", 17, 1.5, None, "a;b", "Müller, Max")], ",") == [
        "Erika Muster", "17", "1.5", "", "a;b", "Müller, Max"]  # fmt: skip
