"""A worker with one defect, for the tests of `fs-scheduler conform`: python3 broken.py DEFECT HOST:PORT

ConformTests.fs says which rows each defect fails. Without a defect, as `none`, it fails no row.
"""
import contextlib, io, json, socket, sys, threading, time

DEFECT, ADDRESS = sys.argv[1:]
held = []  # what 'keeps-all' says that it holds


def is_broken(defect):
    return DEFECT == defect


class OneFrameARead(io.RawIOBase):
    """Takes what a read brings for one frame, and forgets what stands behind it; only BEATs it tells apart."""

    def __init__(self, connection):
        self.connection, self.rest = connection, b""

    def more(self):
        piece = self.connection.recv(1 << 20)
        self.rest += piece
        return piece

    def readline(self):
        if not self.rest.startswith(b'{"type":"BEAT"'):
            self.rest = b""
        while b"\n" not in self.rest:
            if not self.more():
                return b""
        line, _, self.rest = self.rest.partition(b"\n")
        return line + b"\n"

    def read(self, size):
        pieces, missing = [self.rest[:size]], size - len(self.rest)
        self.rest = self.rest[size:]
        while missing > 0 and (piece := self.connection.recv(1 << 20)):
            pieces.append(piece[:missing])
            self.rest = piece[missing:]
            missing -= len(piece)
        return b"".join(pieces)


def lower(data):
    return data.decode(errors="replace" if is_broken("replaces-bad-text") else "strict").lower().encode()


def readers(connection):
    """Reads a line, and reads so many bytes."""
    if is_broken("one-frame-a-read"):
        reader = OneFrameARead(connection)
        return reader.readline, reader.read
    if is_broken("payload-as-text"):  # each character is a byte, but for line ends
        text = connection.makefile("r", encoding="latin-1", newline=None)
        return lambda: text.readline().encode("latin-1"), lambda size: text.read(size).encode("latin-1")
    incoming = connection.makefile("rb")
    limit = 8192 if is_broken("short-lines") else -1
    return lambda: incoming.readline(limit), incoming.read


def serve(connection):
    lock, working = threading.Lock(), threading.Lock()
    answered = set()
    readline, read = readers(connection)

    def send(payload=b"", **message):
        frame = json.dumps({**message, "bytes": len(payload)}).encode() + b"\n" + payload
        piece = len(frame) if is_broken("one-time-limit-for-a-result") else 65536
        with lock:
            for at in range(0, len(frame), piece):
                connection.sendall(frame[at : at + piece])

    def beat(seconds):
        with contextlib.suppress(OSError):
            while not time.sleep(seconds):
                with working if is_broken("no-beats-while-working") else contextlib.nullcontext():
                    send(type="BEAT")

    def result(message, payload, **fields):
        attempt = 1 if is_broken("wrong-attempt") else message["attempt"]
        task = float(message["task"]) if is_broken("floats") else message["task"]
        send(payload, type="RESULT", task=task, attempt=attempt, **fields)

    def take(message):
        kind, size = message["type"], message.get("bytes", 0)
        known = kind in ("WELCOME", "BEAT", "PROCESS", "CANCEL", "DRAIN", "ERROR")
        if kind == "PROCESS" and is_broken("keeps-all"):
            held[:] = [(message["task"], message["attempt"])]
        payload = b"" if is_broken("unknown-types-without-payload") and not known else read(size)
        if kind == "WELCOME":
            if not is_broken("ignores-silence"):
                connection.settimeout(message["lostAfterMs"] / 1000)
            else:
                connection.settimeout(None)
            threading.Thread(target=beat, args=[message["beatMs"] / 1000], daemon=True).start()
            if not is_broken("no-ready"):
                send(type="READY", slots=0 if is_broken("no-slots") else 1)
            for task, attempt in held:
                result({"task": task, "attempt": attempt}, b"", ok=True)
            held.clear()
        elif kind == "PROCESS" and (len(payload) == size or is_broken("answers-half-a-payload")):
            try:
                for stage in message["stages"]:
                    payload = lower(payload)
                result(message, payload, ok=True)
            except UnicodeError as error:
                result(message, b"", ok=False, error=str(error), retry=False)
            answered.add((message["task"], message["attempt"]))
            held.clear()
        elif kind == "CANCEL" and is_broken("answers-what-is-cancelled"):
            if (message["task"], message["attempt"]) in answered:
                result(message, b"", ok=False, error="cancelled")
        elif kind == "DRAIN":
            if not is_broken("drains-without-a-word"):
                send(type="READY", slots=0)
            connection.shutdown(socket.SHUT_WR)
            read(-1)
            sys.exit()
        elif kind == "ERROR" and is_broken("ends-with-any-error"):
            sys.exit("an error")
        elif kind == "ERROR" and message["code"] == "unauthorized" and not is_broken("knocks-again"):
            sys.exit("not authorized")
        elif kind == "ERROR" and message["code"] == "unauthorized":
            return True

    holding = {"holding": held} if held else {}
    hello = {"type": "HELLO", "protocol": 1, "role": "worker", "name": "broken", "stages": ["lower"], **holding}
    send(**hello)
    while (line := readline()).endswith(b"\n"):
        with working:  # also while it waits for the rest of a frame
            if take(json.loads(line)):
                return True
    return False


host, port = ADDRESS.rsplit(":", 1)
pause = 0.1
while True:
    is_refused = False
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 10) as connection:
        is_refused = serve(connection)
    if is_broken("does-not-come-back"):
        sys.exit()
    if not is_refused and not is_broken("comes-back-at-once"):
        time.sleep(pause)
        pause = min(2 * pause, 10)
