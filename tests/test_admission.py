"""Tests of L{xmpproxy.admission}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmpproxy import admission
from xmpproxy.admission import (
    LOCAL,
    Admission,
    Failures,
    Homes,
    Levels,
    Origin,
    accountKey,
    origin,
)
from xmpproxy.config import Limits

HERE, THERE = "192.0.2.1", "192.0.2.2"
JULIET, ROMEO = accountKey("example.com", "juliet"), accountKey("example.com", "romeo")


class Origins(SynchronousTestCase):
    """What counts as one address."""

    def test_table(self) -> None:
        for host, expected in {
            "192.0.2.1": "192.0.2.1",
            "127.0.0.1": "127.0.0.1",
            "::ffff:192.0.2.1": "192.0.2.1",
            "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
            "2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
            "2001:db8:1:3::": "2001:db8:1:3::/64",
            "::1": "::/64",
            "fe80::1%eth0": "fe80::/64",
            None: LOCAL,
            "": LOCAL,
            "/run/c2s.sock": LOCAL,
            "example.com": LOCAL,
            "192.0.2.1\0": LOCAL,
            "::1\0": LOCAL,
            "1.2": LOCAL,
        }.items():
            self.assertEqual(origin(host), expected, host)

    def test_accounts(self) -> None:
        """An account is one, however its name is written."""
        for name in ("Juliet", "JULIET", "\uff4auliet", "juli\u00adet", "juliet@example.com"):
            self.assertEqual(accountKey("example.com", name), JULIET)
        for other in (ROMEO, accountKey("example.org", "juliet")):
            self.assertNotEqual(other, JULIET)


class Counting(SynchronousTestCase):
    """Connections and logins."""

    def setUp(self) -> None:
        self.admission = Admission(
            Limits(connections=7, connections_per_address=3, logins=5, logins_per_address=2),
            Clock().seconds,
        )

    def refusedBy(self, address: str) -> str | None:
        refusal = self.admission.refusal(address)
        return None if refusal is None else refusal.limit

    def test_loginsPerAddress(self) -> None:
        """Who has logged in makes room for another login."""
        one = self.admission.enter(HERE)
        self.assertIsNone(self.refusedBy(HERE))
        self.admission.enter(HERE)
        self.assertEqual(self.refusedBy(HERE), "logins-per-address")
        self.assertIsNone(self.refusedBy(THERE))
        self.admission.loggedIn(one)
        self.assertIsNone(self.refusedBy(HERE))

    def test_connectionsPerAddress(self) -> None:
        """Who has left makes room for another connection."""
        origins = [self.admission.enter(HERE) for _ in range(3)]
        for each in origins[1:]:
            self.admission.loggedIn(each)
        self.assertEqual(self.refusedBy(HERE), "connections-per-address")
        self.assertIsNone(self.refusedBy(THERE))
        self.admission.leave(origins[2])
        self.assertIsNone(self.refusedBy(HERE))

    def test_local(self) -> None:
        """What comes by no known address counts in all alone."""
        for _ in range(5):
            self.assertIsNone(self.refusedBy(LOCAL))
            self.admission.enter(LOCAL)
        self.assertEqual(self.admission.full(0, 100), "limits logins = 5")

    def test_full(self) -> None:
        """In all."""
        full = self.admission.full
        origins = [self.admission.enter(str(each)) for each in range(4)]
        self.assertIsNone(full(0, 100))
        origins.append(self.admission.enter("4"))
        self.assertEqual(full(0, 100), "limits logins = 5")
        for each in origins:
            self.admission.loggedIn(each)
        self.assertIsNone(full(0, 100))
        self.admission.loggedIn(self.admission.enter("5"))
        self.assertIsNone(full(0, 100))
        self.admission.loggedIn(self.admission.enter("6"))
        self.assertEqual(full(0, 100), "limits connections = 7")
        self.admission.leave(origins[0])
        self.assertIsNone(full(0, 100))

    def test_descriptors(self) -> None:
        """Each needs two, of which those who log in may have one."""
        full = self.admission.full
        self.assertIsNone(full(0, 2))
        self.assertIsNotNone(full(0, 1))
        one = self.admission.enter(HERE)
        self.assertIsNone(full(0, 4))
        self.assertIsNotNone(full(0, 3))
        self.admission.loggedIn(one)
        self.assertIsNone(full(1, 4))
        self.assertIsNotNone(full(2, 4), "one has no client any more")

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("+-!"))))
    def test_balance(self, steps: list[tuple[str, str]]) -> None:
        """Nothing is left of those who are gone, and no limit is exceeded."""
        limits = Limits(connections_per_address=4, logins_per_address=2)
        admission = Admission(limits, Clock().seconds)
        loggingIn: dict[str, list[Origin]] = {each: [] for each in "abc"}
        loggedIn: dict[str, list[Origin]] = {each: [] for each in "abc"}
        for address, step in steps:
            if step == "+" and admission.refusal(address) is None:
                loggingIn[address].append(admission.enter(address))
            elif step == "!" and loggingIn[address]:
                here = loggingIn[address].pop()
                admission.loggedIn(here)
                loggedIn[address].append(here)
            elif step == "-" and loggedIn[address]:
                admission.leave(loggedIn[address].pop())
            self.assertLessEqual(len(loggingIn[address]), 2)
            self.assertLessEqual(len(loggingIn[address]) + len(loggedIn[address]), 4)
            self.assertEqual(admission.logins, sum(map(len, loggingIn.values())))
        for address in "abc":
            for here in loggingIn[address]:
                admission.loggedIn(here)
            for here in loggingIn[address] + loggedIn[address]:
                admission.leave(here)
        self.assertEqual((admission.connections, admission.logins), (0, 0))
        self.assertEqual(admission._origins, {})


class FailedLogins(SynchronousTestCase):
    """Ten to an address are free, five to an account. All of that within ten minutes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.failures = self.made()

    def made(self, **more: float) -> Failures:
        limits = Limits.model_validate(
            {"failed-logins-per-address": 10, "failed-logins-per-account": 5, **more}
        )
        return Failures(limits, self.clock.seconds)

    def fails(self, times: int, address: str = HERE, account: int | None = None) -> None:
        for _ in range(times):
            self.failures.failed(address, account)

    def test_address(self) -> None:
        """Free, then slower and slower, then in vain; nobody else notices."""
        waits = []
        for _ in range(21):
            waits.append(self.failures.wait(HERE, None))
            self.fails(1)
        self.assertEqual(waits, [0] * 10 + [1, 2, 4, 8, 16] + [30] * 5 + [None])
        self.assertTrue(self.failures.inVain(HERE))
        self.assertIsNone(self.failures.wait(HERE, JULIET))
        self.assertEqual(self.failures.wait(THERE, JULIET), 0)
        self.assertFalse(self.failures.inVain(THERE))

    def test_forgotten(self) -> None:
        """In time."""
        self.fails(30)
        self.clock.advance(59)
        self.assertIsNone(self.failures.wait(HERE, None))
        self.clock.advance(1)
        self.assertEqual(self.failures.wait(HERE, None), 30)
        self.clock.advance(480)
        self.assertEqual(self.failures.wait(HERE, None), 2)
        self.clock.advance(120)
        self.assertEqual(self.failures.wait(HERE, None), 0)

    def test_atOnce(self) -> None:
        """Those that are under way count where others have failed, and only there."""
        self.fails(9)
        self.assertEqual(self.failures.wait(HERE, None, 30), 0)
        self.fails(1)
        self.assertEqual(self.failures.wait(HERE, None, 3), 8)
        self.assertEqual(self.failures.wait(HERE, None, 9), 30)
        self.assertIsNone(self.failures.wait(HERE, None, 10))
        self.failures.succeeded(HERE, JULIET)
        self.assertEqual(self.failures.wait(HERE, JULIET, 30), 0)

    def test_clockSetBack(self) -> None:
        """Then nothing is forgotten for a while, and that is all."""
        self.clock.advance(10000)
        self.fails(11)
        self.clock.rightNow = 0.0
        self.assertEqual(self.failures.wait(HERE, None), 2)

    def test_many(self) -> None:
        """Whoever allows very many still has those beyond wait, and no longer than others."""
        self.failures = self.made(**{"failed-logins-per-address": 2000})
        self.fails(1999)
        self.assertEqual(self.failures.wait(HERE, None), 0)
        self.fails(1900)
        self.assertEqual(self.failures.wait(HERE, None), 30)

    def test_account(self) -> None:
        """Strangers wait for an account that many have tried, and are not refused."""
        for index in range(1000):
            self.fails(1, f"198.51.100.{index % 250}", JULIET)
        self.assertEqual(self.failures.wait(HERE, JULIET), 30)
        self.assertEqual(self.failures.wait(HERE, ROMEO), 0)
        self.assertEqual(self.failures.wait(HERE, None), 0)

    def test_atHome(self) -> None:
        """Who has logged in from there before does not wait for what others have tried."""
        self.failures.succeeded(HERE, JULIET)
        for index in range(100):
            self.fails(1, f"198.51.100.{index}", JULIET)
        self.assertEqual(self.failures.wait(HERE, JULIET), 0)
        self.assertEqual(self.failures.wait(THERE, JULIET), 30)

    def test_neighbours(self) -> None:
        """Nor for what is tried from the same address, on other accounts."""
        self.failures.succeeded(HERE, JULIET)
        self.fails(100, HERE, ROMEO)
        self.assertEqual(self.failures.wait(HERE, JULIET), 0)
        self.assertIsNone(self.failures.wait(HERE, ROMEO))
        self.assertFalse(self.failures.inVain(HERE))

    def test_ownFailures(self) -> None:
        """Its own are counted where it is at home, and nowhere else."""
        self.failures.succeeded(HERE, JULIET)
        self.fails(100, HERE, JULIET)
        self.assertEqual(self.failures.wait(HERE, JULIET), 30)
        self.assertEqual(self.failures.wait(HERE, ROMEO), 0)
        self.assertEqual(self.failures.wait(THERE, JULIET), 0)

    def test_successIsNoPardon(self) -> None:
        """Who has an account does not guess at others the more."""
        self.fails(20, HERE, ROMEO)
        self.failures.succeeded(HERE, JULIET)
        self.assertIsNone(self.failures.wait(HERE, ROMEO))

    def test_local(self) -> None:
        """Of those whose address is not known only the account counts."""
        self.fails(100, LOCAL, ROMEO)
        self.assertEqual(self.failures.wait(LOCAL, ROMEO), 30)
        self.assertEqual(self.failures.wait(LOCAL, JULIET), 0)

    def test_inTime(self) -> None:
        """Who waits longest still has time to log in."""
        self.failures = self.made(**{"login-seconds": 10.0})
        self.fails(19)
        self.assertEqual(self.failures.wait(HERE, None), 5)


class Bounded(SynchronousTestCase):
    """However many try, only so many are remembered."""

    def test_levels(self) -> None:
        """Those that failed last."""
        self.patch(admission, "MOST_FAILED", 100)
        levels = Levels[int](10)
        for key in range(200):
            levels.add(key, 0.0)
            levels.add(0, 0.0)
        self.assertEqual(len(levels), 100)
        self.assertEqual(levels.at(0, 0.0), 20)
        self.assertEqual([levels.at(each, 0.0) for each in (1, 100, 101, 199)], [0, 0, 1, 1])

    def test_levelsForgotten(self) -> None:
        """What counts no more goes before that."""
        levels = Levels[int](10)
        for key in range(1000):
            levels.add(key, 10.0 * key)
        self.assertEqual(len(levels), 6)

    def test_homes(self) -> None:
        """Those that logged in last, of the accounts and of the addresses of each."""
        self.patch(admission, "MOST_ACCOUNTS", 10)
        self.patch(admission, "MOST_HOMES", 3)
        homes = Homes()
        for address in range(5):
            homes.add(0, str(address))
            homes.add(0, "0")
        self.assertEqual([homes.has(0, str(each)) for each in range(5)], [1, 0, 0, 1, 1])
        self.assertEqual([str(each) in homes for each in range(5)], [1, 0, 0, 1, 1])
        for account in range(1, 20):
            homes.add(account, "0")
            homes.add(1, "0")
        self.assertEqual([homes.has(each, "0") for each in (0, 1, 10, 11, 19)], [0, 1, 0, 1, 1])
        self.assertNotIn("3", homes)

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))))
    def test_homesBalance(self, logins: list[tuple[int, int]]) -> None:
        """An address is somebody's home exactly as long as it is some account's."""
        self.patch(admission, "MOST_ACCOUNTS", 5)
        self.patch(admission, "MOST_HOMES", 3)
        homes = Homes()
        for account, address in logins:
            homes.add(account, str(address))
            self.assertTrue(homes.has(account, str(address)))
        for address in range(21):
            living = any(homes.has(account, str(address)) for account in range(21))
            self.assertEqual(str(address) in homes, living)
