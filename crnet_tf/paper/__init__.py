"""The tables of the paper as data, the runs that fill them, and their report."""
