"""Entry of the command `autointerp`: exit status 0 only when everything asked for was done.

What a user can cause ends in one line and status 1, without a traceback. Ctrl-C, a scheduler's SIGTERM and a terminal
that closes (SIGHUP) end a command in one way, also while it is still being loaded: therefore this file imports next to
nothing before it is ready for them.
"""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from autointerp.errors import AutointerpError

_LIKE_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


class _StopSignals:
    """The signals that ask a command to stop, as they come.

    They are noted below Python, at its wakeup descriptor: libraries make errors of their own of the KeyboardInterrupt
    that a handler raises (pydantic amid a model, DuckDB amid a query), and a handler of ours in place of Python's would
    keep asyncio from closing what is open at Ctrl-C.
    """

    def __init__(self) -> None:
        self._noted = b""
        self._reads, self._writes = os.pipe()
        for end in (self._reads, self._writes):
            os.set_blocking(end, False)
        self._before = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        # Who stops a forked process does not stop this one.
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))

    def received(self) -> list[int]:
        """Those that have come so far, the first one first."""
        with suppress(BlockingIOError):
            self._noted += os.read(self._reads, 4096)
        return [number for number in self._noted if number in (signal.SIGINT, *_LIKE_CTRL_C)]

    def close(self) -> None:
        """Note no more."""
        signal.set_wakeup_fd(self._before)
        os.close(self._reads)
        os.close(self._writes)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    is_main = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    handlers = {number: signal.getsignal(number) for number in _LIKE_CTRL_C if is_main}
    signals = _StopSignals() if is_main else None
    try:
        for number, handler in handlers.items():
            if handler is signal.SIG_DFL:  # `nohup` has a closing terminal ignored
                signal.signal(number, _like_ctrl_c)
        _run(arguments)
    except SystemExit as ended:
        received = signals.received() if signals else []
        if ended.code == 128 + signal.SIGINT or (received and ended.code):
            _stopped(received, at_once=arguments is None)
        if arguments is None:
            if not _only_looks(sys.argv[1:]):
                atexit._run_exitfuncs()  # Ray's processes and temporary folders
            _end_at_once(ended.code)
        raise
    except BaseException as error:
        # Where a terminal has closed, what is drawn on it fails first.
        received = signals.received() if signals else []
        if received or isinstance(error, KeyboardInterrupt):
            _stopped(received, at_once=arguments is None)
        raise
    finally:
        for number, handler in handlers.items():
            # A process that ends is not asked to end once more, with a traceback from amid Python's own end.
            signal.signal(number, signal.SIG_DFL if arguments is None else handler)
        if arguments is None and is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if signals:
            signals.close()


def _run(arguments: list[str] | None) -> None:
    from autointerp.cli.commands import app
    from autointerp.errors import AutointerpError, file_error, is_of_a_path

    try:
        app(arguments, standalone_mode=True)
    except AutointerpError as error:
        _fail(error)
    except OSError as error:
        if error.filename is None and not is_of_a_path(error):
            raise
        _fail(file_error(error))


def _like_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does, whoever handles that just then."""
    if not callable(signal.getsignal(signal.SIGINT)):  # ignored in a shell's background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def _stopped(received: list[int], *, at_once: bool) -> NoReturn:
    """End as a stopped command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    number = received[0] if received else signal.SIGINT
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    _say(f"stopped{by}; the same command goes on from what is finished")
    if at_once:
        _end_at_once(128 + number)
    sys.exit(128 + number)


def _only_looks(arguments: list[str]) -> bool:
    from autointerp.cli import look

    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    return command in {looking.__name__ for looking in look.COMMANDS}


def _end_at_once(status: str | int | None) -> NoReturn:
    """End a process that has nothing open any more, without taking apart what it has imported.

    Python's own end goes over every object that torch has made, which takes a third as long as importing it. It may end
    with lines of DuckDB's binding, too, about objects of its own that it calls leaked where they are taken apart late.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is None where the shell has closed it
            with suppress(OSError):  # whoever reads has seen enough, or the terminal is gone
                stream.flush()
    os._exit(status if isinstance(status, int) else bool(status))


def _fail(error: "AutointerpError") -> NoReturn:
    _say(f"autointerp: {' '.join(f'{error.problem}: {error.remedy}'.split())}")
    for fault in error.faults:
        _say(f"  {' '.join(fault.split())}")
    sys.exit(1)


def _say(line: str) -> None:
    from autointerp.valid_text import visible

    with suppress(OSError, AttributeError, ValueError):  # the terminal may be gone, or the stream closed
        print(visible(line), file=sys.stderr, flush=True)
