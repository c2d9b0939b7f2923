"""A worker for FsScheduler: python3 worker.py [HOST:PORT [TOKEN_FILE]]"""
import json, os, re, socket, sys, threading

STAGES = {  # the payload of a file in, the payload of its result out
    "lower": lambda data: data.decode().lower().encode(),
    "number-lines": lambda data: b"".join(b"%d: %b" % (n, line) for n, line in enumerate(data.splitlines(True), 1)),
}

def work(address="127.0.0.1:7070", token_file=None):
    host, port = address.rsplit(":", 1)
    lock, closed = threading.Lock(), threading.Event()
    with socket.create_connection((host, int(port)), 10) as connection, connection.makefile("rb") as incoming:
        def send(payload=b"", **message):
            with lock:  # the beats come from another thread, and must not fall into a frame
                connection.sendall(json.dumps({**message, "bytes": len(payload)}).encode() + b"\n" + payload)
        def beat(seconds):
            while not closed.wait(seconds):
                send(type="BEAT")
        token = {"token": re.search(r"(?m)^worker\s+(\S+)", open(token_file).read())[1]} if token_file else {}
        send(type="HELLO", protocol=1, role="worker", name=f"python-{os.getpid()}", stages=list(STAGES), **token)
        for line in incoming:  # until the scheduler closes
            message = json.loads(line)
            payload = incoming.read(message.get("bytes", 0))
            if message["type"] == "WELCOME":
                connection.settimeout(message["lostAfterMs"] / 1000)  # it answers every beat: silence means it is lost
                threading.Thread(target=beat, args=[message["beatMs"] / 1000], daemon=True).start()
                send(type="READY", slots=1)
            elif message["type"] == "PROCESS":
                try:
                    for stage in message["stages"]:
                        payload = STAGES[stage](payload)
                    result = {"ok": True}
                except Exception as error:  # text that is not UTF-8 stays so: no further attempt
                    payload, result = b"", {"ok": False, "error": str(error), "retry": not isinstance(error, UnicodeError)}
                send(payload, type="RESULT", task=message["task"], attempt=message["attempt"], **result)
            elif message["type"] == "ERROR":
                sys.exit(f"the scheduler says {message['code']}: {message['message']}")
        closed.set()

work(*sys.argv[1:])
