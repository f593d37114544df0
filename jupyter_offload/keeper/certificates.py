from ..relay.certificates import *  # noqa: D100, F403
from ..relay.certificates import _SERVER, _CLIENT, _Authority, _authority, _issue, _JOB, _ROLES  # noqa: F401
