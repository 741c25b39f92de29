"""Archives of published data sets: fetched, checked, unpacked."""
