"""A worker that speaks the protocol by hand, with tasks that behave and tasks that do not.

The first argument, where there is one, says how it misbehaves before it says hello.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

channel = socket.socket(fileno=3)
channel.set_inheritable(False)


def send(header, body=b""):
    header = json.dumps(header).encode()
    channel.sendall(struct.pack("<II", len(header), len(body)) + header + body)


def receive_exactly(length):
    parts = []
    while length:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            sys.exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def receive():
    header_length, body_length = struct.unpack("<II", receive_exactly(8))
    return json.loads(receive_exactly(header_length)), receive_exactly(body_length)


def content_type(run):
    return [[name, value] for name, value in run["headers"] if name == "content-type"]


# Tasks that behave.


def echo(run, body):
    headers = content_type(run) + [["content-disposition", 'attachment; filename="echo.bin"']]
    send({"type": "done", "id": run["id"], "headers": headers}, body)


def show_headers(run, body):
    send({"type": "done", "id": run["id"]}, json.dumps(dict(run["headers"])).encode())


def show_run(run, body):
    shown = {**run, "pid": os.getpid(), "threads": os.environ["EKIBEN_THREADS"], "note": os.environ.get("NOTE")}
    send({"type": "done", "id": run["id"]}, json.dumps(shown).encode())


def fail(run, body):
    message = "ValueError: told to fail"
    send({"type": "failed", "id": run["id"], "message": message, "status": 422, "headers": content_type(run)}, body)


def refuse(run, body):
    send({"type": "failed", "id": run["id"], "code": "bad_input", "message": "no such style"})


def flood(run, body):
    send({"type": "done", "id": run["id"]}, bytes(6 << 20))


def stall(run, body):
    send({"type": "progress", "id": run["id"], "fraction": 0.5})
    header = json.dumps({"type": "done", "id": run["id"]}).encode()
    channel.sendall(struct.pack("<II", len(header), 2 << 20) + header + bytes(1 << 20))
    time.sleep(1000)


def wait_for_cancel(run, body):
    send({"type": "progress", "id": run["id"], "fraction": 0.5})
    message, _ = receive()
    assert message == {"type": "cancel", "id": run["id"]}, message
    send({"type": "canceled", "id": run["id"]})


def log(run, body):
    print("printed in an attempt", flush=True)
    send({"type": "log", "id": run["id"], "level": "warning", "message": "sent in an attempt"})
    send({"type": "done", "id": run["id"]}, b"null")


def report(run, body):
    send({"type": "progress", "id": run["id"], "fraction": 0.5})
    send({"type": "progress", "id": run["id"], "message": "half way", "counters": {"tokens": 3, "loss": 0.5}})
    send({"type": "log", "id": run["id"], "level": "warning", "message": "hot"})
    # The last of it is still in the pipe when the attempt ends.
    sys.stdout.write("".join(f"line {number}\n" for number in range(150)))
    sys.stdout.flush()
    sys.stderr.write("and an error\n")
    sys.stderr.flush()
    send({"type": "done", "id": run["id"]}, b"null")


def speak_after_the_end(run, body):
    send({"type": "done", "id": run["id"]}, b"null")
    send({"type": "progress", "id": run["id"], "fraction": 1})
    send({"type": "log", "id": run["id"], "level": "info", "message": "too late"})


# Tasks that do not.


def print_without_newline(run, body):
    sys.stdout.write("no newline at the end")
    sys.stdout.flush()
    os._exit(7)


def print_much(run, body):
    for _ in range(100):
        sys.stdout.write("x" * (1 << 20))
    sys.stdout.flush()
    send({"type": "done", "id": run["id"]}, b"null")


def fork_and_exit(run, body):
    child = subprocess.Popen(["sleep", "1000"])
    print(f"child {child.pid}", flush=True)
    os._exit(0)


def close_channel(run, body):
    channel.close()
    time.sleep(1000)


def send_garbage(run, body):
    channel.sendall(b"\xff" * 100)
    time.sleep(1000)


def send_wrong_id(run, body):
    send({"type": "done", "id": run["id"] + 1000}, b"null")
    time.sleep(1000)


def end_twice(run, body):
    send({"type": "done", "id": run["id"]}, b"null")
    send({"type": "done", "id": run["id"]}, b"null")
    time.sleep(1000)


def send_strange_type(run, body):
    send({"type": "sing", "id": run["id"]})
    time.sleep(1000)


def send_half(run, body):
    channel.sendall(struct.pack("<II", 20, 20) + b'{"type"')
    os._exit(7)


def ignore_everything(run, body):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    send({"type": "progress", "id": run["id"], "fraction": 0.5})
    while True:
        time.sleep(1000)


def eat_memory(run, body):
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20)))


def exit_with_7(run, body):
    print("about to exit", flush=True)
    os._exit(7)


def kill_itself(run, body):
    os.kill(os.getpid(), signal.SIGKILL)


TASKS = [
    echo,
    show_headers,
    show_run,
    fail,
    refuse,
    flood,
    stall,
    wait_for_cancel,
    log,
    report,
    speak_after_the_end,
    print_without_newline,
    print_much,
    fork_and_exit,
    close_channel,
    send_garbage,
    send_wrong_id,
    end_twice,
    send_strange_type,
    send_half,
    ignore_everything,
    eat_memory,
    exit_with_7,
    kill_itself,
]


def hello(protocol=1):
    tasks = [{"name": task.__name__, "description": task.__doc__} for task in TASKS]
    tasks[0]["description"] = "Gives back what it got."
    tasks[0]["input"] = {"type": "object", "root_input": True}
    send({"type": "hello", "protocol": protocol, "client": "plain/1", "concurrency": 1, "tasks": tasks})


def start(mood):
    if mood == "exit":
        print("no model here", file=sys.stderr, flush=True)
        sys.exit(3)
    if mood == "never_ready":
        time.sleep(1000)
    if mood == "close":
        channel.close()
        time.sleep(1000)
    # Works once the file is there.
    if mood.startswith("needs:") and not os.path.exists(mood.removeprefix("needs:")):
        sys.exit(3)
    hello(protocol=2 if mood == "protocol_2" else 1)


def main():
    start(sys.argv[1] if len(sys.argv) > 1 else "")
    tasks = {task.__name__: task for task in TASKS}
    while True:
        message, body = receive()
        if message["type"] == "exit":
            sys.exit(0)
        if message["type"] == "run":
            # An input that names another task is asked of that one, so that one worker can behave and misbehave.
            asked = body.decode() if message["task"] == "show_run" and body else message["task"]
            tasks[asked](message, body)


main()
