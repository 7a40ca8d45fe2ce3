"""A server on this machine, in a thread of the tests' process."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from fastapi import FastAPI

from autointerp.serve.server import configured, listen


@contextmanager
def answering(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The address at which an application answers; at any port that is free where it is 0.

    Raises:
        ServeError: If the port is taken.
    """
    with closing(listen("127.0.0.1", port)) as listener:
        server = uvicorn.Server(configured(app))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.001)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
