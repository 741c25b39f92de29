"""The roof: one command, `crnet`, that leads to all others. No other module imports it."""
