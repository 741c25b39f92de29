"""Who does the work: this process, or the workers of a Ray cluster (`pool.py`).

What the work is, and how it is cut, is said elsewhere.
"""
