"""
Run with C{twistd -y xmpproxy.tac}.

The configuration file is the one that the environment variable XMPPROXY_CONFIG names, else
C{xmpproxy.toml} in the current directory.
"""

import os

from twisted.application.service import Application

from xmpproxy.configfile import ConfigError, load
from xmpproxy.tap import serviceOf

try:
    config = load(os.environ.get("XMPPROXY_CONFIG", "xmpproxy.toml"))
except ConfigError as error:
    raise SystemExit(str(error)) from error

application = Application("xmpproxy")
serviceOf(config).setServiceParent(application)
