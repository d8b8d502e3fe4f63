"""Speed, side by side. Each starts what it needs, prints a table, writes JSON and ends what it started."""
