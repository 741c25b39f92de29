"""Archives of published data sets: `fetch` brings one file and checks it, `unpack` takes it
apart so that nothing leaves its folder.

Which archives there are stands in `pipelines.download`.
"""

RETRIES = 5  # fruitless attempts in a row
