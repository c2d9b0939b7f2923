"""A worker for FsScheduler: python3 worker.py [HOST:PORT [TOKEN_FILE]]"""
import contextlib, json, os, re, socket, sys, threading, time
STAGES = {  # the payload of a file in, the payload of its result out
    "lower": lambda data: data.decode().lower().encode(),
    "number-lines": lambda data: b"".join(b"%d: %b" % (n, line) for n, line in enumerate(data.splitlines(True), 1)),
}

def serve(connection, incoming, token):
    lock = threading.Lock()
    def send(payload=b"", **message):
        frame = json.dumps({**message, "bytes": len(payload)}).encode() + b"\n" + payload
        with lock:  # the beats come from another thread, and must not fall into a frame
            for at in range(0, len(frame), 65536):  # a time limit for each piece, not for all of a large result
                connection.sendall(frame[at:at + 65536])
    def beat(seconds):
        with contextlib.suppress(OSError):  # who reads from the connection sees as well that it is gone
            while not time.sleep(seconds): send(type="BEAT")
    send(type="HELLO", protocol=1, role="worker", name=f"python-{os.getpid()}", stages=list(STAGES), **token)
    while (line := incoming.readline()).endswith(b"\n"):  # until the scheduler closes
        message = json.loads(line)
        payload = incoming.read(message.get("bytes", 0))
        if message["type"] == "WELCOME":
            connection.settimeout(message["lostAfterMs"] / 1000)  # it answers every beat: silence means it is lost
            threading.Thread(target=beat, args=[message["beatMs"] / 1000], daemon=True).start()
            send(type="READY", slots=1)
        elif message["type"] == "PROCESS" and len(payload) == message.get("bytes", 0):  # else it was cut off
            try:
                for stage in message["stages"]: payload = STAGES[stage](payload)
                result = {"ok": True}
            except Exception as error:  # text that is not UTF-8 stays so: no further attempt
                payload, result = b"", {"ok": False, "error": str(error), "retry": not isinstance(error, UnicodeError)}
            send(payload, type="RESULT", task=message["task"], attempt=message["attempt"], **result)
        elif message["type"] == "DRAIN":
            send(type="READY", slots=0)  # all that came before is done: nothing is held
            connection.shutdown(socket.SHUT_WR)
            incoming.read()  # what is unread when a socket is closed destroys what was sent
            sys.exit()
        elif message["type"] == "ERROR" and message["code"] in ("unauthorized", "bad-version"):
            sys.exit(f"the scheduler says {message['code']}: {message['message']}")

def work(address="127.0.0.1:7070", token_file=None, pause=0.1):
    host, port = address.rsplit(":", 1)
    token = {"token": re.search(r"(?m)^worker\s+(\S+)", open(token_file).read())[1]} if token_file else {}
    while began := time.monotonic():  # a scheduler that is gone may come back
        try:
            with socket.create_connection((host.strip("[]"), int(port)), 10) as link: serve(link, link.makefile("rb"), token)
        except OSError as error: print(f"no scheduler at {address}: {error}; looking again", file=sys.stderr, flush=True)
        time.sleep(pause := min(2 * pause, 10) if time.monotonic() - began < 5 else 0.1)

work(*sys.argv[1:])
