"""Licenses of work apps: ``needs.py`` who needs which, ``exchanging.py`` the worker's rounds of asking Apple for them.

``marking.py`` tells whom to look at, ``counts.py`` how many licenses there are, ``rows.py`` what becomes of one's row;
``asking.py`` asks, ``outcomes.py`` takes what Apple says, ``turn.py`` lets one worker at a time do so.
"""
