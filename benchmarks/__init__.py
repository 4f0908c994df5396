"""How much CPU and memory the proxy takes: C{python -m benchmarks}. See docs/benchmarks.rst."""
