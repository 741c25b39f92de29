"""How a network is measured: protocols, which episodes, areas of every answer, baselines,
tables.

Pages and charts of it are made in `reporting`.
"""
