"""
Tests.

An example of Hypothesis may take as long as it likes: a machine with other work to do stalls
anything for longer than the deadline, and Hypothesis calls the test flaky, for it does not happen
the second time.
"""

from hypothesis import settings

settings.register_profile("tests", settings(), deadline=None)
settings.load_profile("tests")
