"""Ray itself: imported, reached or started here, and shut down. This is the only file that imports it."""

import contextlib
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from autointerp.errors import CollectError, in_one_line

_CONNECT_WITHIN_S = 5.0


def one_line(error: Exception, n_most: int = 200) -> str:
    """The telling line of an error of Ray's: the last one, where the worker's own error stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if len(lines[-1]) <= n_most else lines[-1][:n_most] + "…"


def answers(address: str) -> bool:
    """Whether somebody listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_WITHIN_S):
            return True
    except (OSError, ValueError):
        return False


def import_ray(address: str | None) -> Any:
    """Import Ray with the environment that it reads on import."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Without it Ray, told to be on 127.0.0.1, takes the machine's outside address, and listens on all of them.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    else:
        # Attempts to connect to a cluster, of up to 45 s each; Ray's own 20 would be a quarter of an hour.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    import ray

    return ray


@contextlib.contextmanager
def running(ray: Any, address: str | None, n_cpus: float, n_gpus: float) -> Iterator[None]:
    """Ray as the caller has it, or on the cluster at `ray.address`, or started here for this once.

    Args:
        ray: From `import_ray`.
        address: Of a cluster; None to start Ray on this machine, reachable from it alone.
        n_cpus: What Ray is told that this machine has, where it is started here.
        n_gpus: The same of GPUs.

    Raises:
        CollectError: If Ray can't be reached or started.
    """
    if ray.is_initialized():
        yield
        return
    where = address or "this machine"
    on_termination = signal.getsignal(signal.SIGTERM)
    if address is not None:
        host_and_port = address.rpartition("://")[2]
        if ":" in host_and_port and not answers(host_and_port):
            raise CollectError(f"nothing answers at ray.address = {where!r}", "check it, or start the cluster's head")
    try:
        if address is None:
            ray.init(
                num_cpus=max(1, math.ceil(n_cpus)),
                num_gpus=math.ceil(n_gpus),
                _node_ip_address="127.0.0.1",
                include_dashboard=False,
                configure_logging=True,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except ray.exceptions.AuthenticationError as error:
        raise _refused(where) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        if "AuthenticationError" in str(error.__cause__):
            raise _refused(where) from error
        raise CollectError(
            f"Ray can't be started on {where} ({in_one_line(error)})", "check ray.address, or set ray.n_workers = 0"
        ) from error
    if callable(on_termination) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # Ray puts its own in the place of the caller's
    try:
        yield
    finally:
        ray.shutdown()


def _refused(where: str) -> CollectError:
    return CollectError(
        f"the Ray cluster at {where} refuses this machine's token",
        "set RAY_AUTH_MODE=token, with the head's ~/.ray/auth_token here and on every node",
    )
