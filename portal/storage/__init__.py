"""Where rows are kept: the SQL behind the heart, which itself knows none."""
