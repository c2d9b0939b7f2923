// A worker for FsScheduler: node worker.mjs [HOST:PORT [TOKEN_FILE]]
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const stages = { // the payload of a file in, the payload of its result out
  "lower": (data) => Buffer.from(utf8.decode(data).toLowerCase()),
  "number-lines": (data) => Buffer.from(utf8.decode(data).match(/.*\n|.+$/g)?.map((line, n) => `${n + 1}: ${line}`).join("") ?? ""),
};
async function serve(socket, token) {
  let pieces = [], size = 0, frame, heard = Date.now(), lostAfter = 10_000, beats;
  const send = (fields, payload = Buffer.alloc(0)) => socket.write(
    Buffer.concat([Buffer.from(JSON.stringify({ ...fields, bytes: payload.length }) + "\n"), payload]),
    () => { if (payload.length) heard = Date.now(); }); // until a long result is taken no beat gets out, and no answer comes
  const take = ({ type, task, attempt, ...fields }, payload) => {
    if (type === "WELCOME") {
      [lostAfter, beats] = [fields.lostAfterMs, setInterval(send, fields.beatMs, { type: "BEAT" })]; // it answers each
      send({ type: "READY", slots: 1 });
    } else if (type === "PROCESS") {
      let outcome = { ok: true }, result;
      try { result = fields.stages.reduce((data, stage) => stages[stage](data), payload); }
      catch (error) { outcome = { ok: false, error: error.message, retry: !error.code?.startsWith("ERR_ENCODING") }; }
      send({ type: "RESULT", task, attempt, ...outcome }, result);
    } else if (type === "DRAIN") {
      send({ type: "READY", slots: 0 }); // all that came before is done: nothing is held
      socket.on("close", () => process.exit()).end();
    } else if (type === "ERROR" && /unauthorized|bad-version/.test(fields.code)) throw new Error(fields.message);
  };
  const watch = setInterval(() => Date.now() - heard > lostAfter && !socket.writableLength && socket.destroy(), 100);
  socket.on("close", () => [watch, beats].forEach((timer) => clearInterval(timer)));
  send({ type: "HELLO", protocol: 1, role: "worker", name: `node-${process.pid}`, stages: Object.keys(stages), token });
  for await (const piece of socket) { // until the scheduler closes
    heard = Date.now(), pieces.push(piece), size += piece.length;
    if (size < frame?.bytes) continue; // a payload is put together once, when it is whole
    let data = Buffer.concat(pieces), end;
    while (frame ? data.length >= frame.bytes : (end = data.indexOf(10)) >= 0) {
      if (frame) take(frame, data.subarray(0, frame.bytes));
      [frame, data] = frame ? [undefined, data.subarray(frame.bytes)]
        : [{ bytes: 0, ...JSON.parse(data.subarray(0, end)) }, data.subarray(end + 1)];
    }
    [pieces, size] = [[data], data.length];
  }
}
const [, , address = "127.0.0.1:7070", tokenFile] = process.argv, [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(address);
const token = tokenFile && /^worker\s+(\S+)/m.exec(readFileSync(tokenFile, "utf8"))[1];
for (let pause = 100, began; began = Date.now(); await new Promise((wake) => setTimeout(wake, pause))) {
  try { await serve(createConnection({ host, port, noDelay: true }), token); }
  catch (error) { if (!error.code) throw error; else console.error(`no scheduler at ${address}: ${error.code}; looking again`); } // of the network
  pause = Date.now() - began < 5_000 ? Math.min(2 * pause, 10_000) : 100;
}
