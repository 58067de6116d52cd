"""The embedded stack: real servers, without Docker, for the demo, the tests and the benchmarks.

`python -m embedded up` starts them from a shell; `Stack` starts them from Python.
"""
