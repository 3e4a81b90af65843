"""The pictures of README.md: `python -m benchmarks.readme` (see `__main__`).

`answers` asks the trained networks, `panels` draws what they say, `screens` photographs the pages of real servers, and
`record` knows what each picture shows, so that a test can tell when one is stale.
"""
