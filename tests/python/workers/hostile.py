"""A worker that does to Ekiben what workers do on bad days. Each task is one way to misbehave.

`behave` does as its argument says, so that one endpoint is enough; the other tasks are the same by name.
"""

import os
import signal
import socket
import sys
import time

import ekiben


@ekiben.task
def fine() -> str:
    """Nothing bad: whether the worker is well after what came before."""
    return "fine"


@ekiben.task
def sleeps(seconds: float = 60.0) -> str:
    """Takes its time, and may be canceled."""
    time.sleep(seconds)
    return "slept"


@ekiben.task
def prints_without_newline(text: str = "no line break") -> str:
    """Leaves half a line in the log."""
    print(text, end="")
    return "printed"


@ekiben.task
def prints_much(megabytes: int = 100) -> str:
    """Floods the log."""
    line = "x" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    return "printed"


@ekiben.task
def forks(seconds: float = 600.0) -> None:
    """Leaves a child behind, which holds its output open, and dies."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os._exit(5)


@ekiben.task
def closes_the_channel(seconds: float = 600.0) -> None:
    """Closes descriptor 3 and lives on."""
    # A descriptor that another thread reads from stays open below; to shut it down is what ends the stream.
    socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)
    os.close(3)
    time.sleep(seconds)


@ekiben.task
def writes_garbage(seconds: float = 600.0) -> None:
    """Says what is no frame, and lives on."""
    os.write(3, b"HTTP/1.1 200 OK\r\n\r\n")
    time.sleep(seconds)


@ekiben.task
def writes_half_a_frame() -> None:
    """Dies in the middle of a frame."""
    os.write(3, b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"type": "done", "id"')
    os._exit(0)


@ekiben.task
def writes_an_unknown_message() -> str:
    """Says a frame that is well formed and means nothing."""
    message = b'{"type": "gossip"}'
    os.write(3, len(message).to_bytes(4, "little") + bytes(4) + message)
    return "said"


@ekiben.task
def answers_twice() -> str:
    """Ends an attempt that it ends once more by returning."""
    message = f'{{"type": "done", "id": {ekiben.current().id}}}'.encode()
    os.write(3, len(message).to_bytes(4, "little") + b"\x04\x00\x00\x00" + message + b"null")
    return "twice"


@ekiben.task
def ignores_signals() -> None:
    """Hears of no cancel and no SIGTERM, and sleeps for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    while True:
        time.sleep(3600)


@ekiben.task
def eats_memory(megabytes: int = 100_000, seconds: float = 600.0) -> int:
    """Takes so much memory, and holds it."""
    eaten = []
    for _ in range(megabytes):
        eaten.append(b"\x01" * 1024 * 1024)
    time.sleep(seconds)
    return len(eaten)


@ekiben.task
def exits(code: int = 7) -> None:
    """Is gone from one moment to the next."""
    os._exit(code)


@ekiben.task
def kills_itself(signal_number: int = signal.SIGKILL) -> None:
    """Dies of a signal."""
    os.kill(os.getpid(), signal_number)
    time.sleep(60)


@ekiben.task
def sys_exits(code: int = 3) -> None:
    """Calls sys.exit, which ends the attempt and not the worker."""
    sys.exit(code)


@ekiben.task
def raises(message: str = "no such style") -> None:
    """Fails as tasks do."""
    raise ValueError(message)


@ekiben.task
def raises_memory_error() -> None:
    """Fails as tasks do that were refused memory."""
    raise MemoryError("no room")


@ekiben.task
def refuses() -> None:
    """Blames the input."""
    raise ekiben.BadInput("no such style")


WAYS = {way.__name__: way for way in list(globals().values()) if getattr(way, "__module__", "") == __name__}


@ekiben.task
def behave(way: str, argument: int | None = None) -> str:
    """Behaves in the way of that name."""
    if way not in WAYS:
        raise ekiben.BadInput(f"way is one of {', '.join(WAYS)}")
    return str(WAYS[way]() if argument is None else WAYS[way](argument))


if __name__ == "__main__":
    ekiben.serve()
