"""A program that runs pyjabber on loopback only, in memory, with accounts.

pyjabber's own command binds the machine's public address beside the domain's, opens an
administration page on port 9090, and starts without accounts. This one keeps the domain apart from
the address, opens no page, and has the accounts before it listens.

Arguments: DOMAIN ADDRESS PORT CERTIFICATES NAME:PASSWORD...
"""

from __future__ import annotations

import hashlib
import os
import sys

import pyjabber.server
import uvloop
from loguru import logger
from pyjabber.db.database import DB
from pyjabber.db.model import Model
from pyjabber.server_parameters import Parameters
from sqlalchemy import insert

_ITERATIONS = 1000
_DAY = 86400


def _hashed(password: str) -> str:
    """A password as pyjabber's SASL code stores it."""
    salt = os.urandom(16)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    return f"sha256${_ITERATIONS}${salt.hex()}${digest.hex()}"


def _registerAtStart(accounts: dict[str, str]) -> None:
    """Have the accounts put into pyjabber's database as soon as that exists."""
    setUp = DB.setup_database

    async def setUpWithAccounts() -> object:
        engine = await setUp()
        rows = [{"jid": name, "hash_pwd": _hashed(word)} for name, word in accounts.items()]
        async with engine.begin() as connection:
            await connection.execute(insert(Model.Credentials), rows)
        return engine

    DB.setup_database = setUpWithAccounts


def main(arguments: list[str]) -> None:
    domain, address, port, certificates, *accounts = arguments
    logger.remove()
    logger.add(sys.stderr, level="INFO")
    # Both would ask the network: for the domain's address, and for the machine's own.
    pyjabber.server.setup_ip_by_host = lambda host: address
    pyjabber.server.setup_query_local_ip = lambda: None
    _registerAtStart(dict(account.split(":") for account in accounts))
    server = pyjabber.server.Server(
        Parameters(
            host=domain,
            client_port=int(port),
            server_port=0,
            connection_timeout=_DAY,
            database_in_memory=True,
            cert_path=certificates,
            # It would hand out what it stored in the reverse order.
            message_persistence=False,
        )
    )
    server._host = address
    # The administration page. To leave out the upload service that brings it breaks every session.
    server._http_server = None
    uvloop.run(server.start())


if __name__ == "__main__":
    main(sys.argv[1:])
