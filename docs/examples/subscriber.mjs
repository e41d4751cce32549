// A subscriber of WedSync Backup's events in Node (20 or later): keeps one line per completed or failed backup.
//
//     npm ci
//     node subscriber.mjs --name crm --seed-file crm.seed --stream BACKUP_EXECUTOR --output backups.jsonl
//
// It shows what every subscriber needs: its own identity and inbox, its durable consumer, acknowledgement only
// after the effect is safe, repeats recognised by the event's id, and a clean stop on SIGTERM.

import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

import { jetstream } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "nats://127.0.0.1:4222" },
    name: { type: "string" }, // the name that the operator registered
    "seed-file": { type: "string" }, // the seed that the operator handed over
    stream: { type: "string", default: "BACKUP_EXECUTOR" },
    output: { type: "string" },
  },
});

/** The effect of an event is one line, which carries the event's id: what is in the file was handled. */
class Inbox {
  #seen = new Set();
  #file;

  constructor(path) {
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
    for (const line of lines) this.#seen.add(JSON.parse(line).id);
    this.#file = openSync(path, "a");
    // A line that was cut off by a crash has no end of line, and its event was never acknowledged.
    ftruncateSync(this.#file, lines.reduce((bytes, line) => bytes + Buffer.byteLength(line) + 1, 0));
  }

  /** Have the effect of an event, once. Returns when it is on the disk. */
  take({ id, type, organisation, data }) {
    if (this.#seen.has(id)) return;
    writeSync(this.#file, JSON.stringify({ id, type, organisation, data }) + "\n");
    fsyncSync(this.#file);
    this.#seen.add(id);
  }

  close() {
    closeSync(this.#file);
  }
}

/** Handle one message; acknowledge it, give it back, or give it up. */
function handle(message, inbox) {
  let event;
  try {
    event = message.json();
    if (![event.id, event.type, event.organisation].every((text) => typeof text === "string")) throw new Error();
  } catch {
    console.log("not an event:", message.subject);
    message.term("not an event"); // Trying again does not help; it stays in the stream to be looked at.
    return;
  }
  try {
    inbox.take(event);
  } catch (error) {
    console.log("not handled, again in ten seconds:", error.message);
    message.nak(10_000);
    return;
  }
  message.ack();
}

const inbox = new Inbox(options.output);
const client = await connect({
  servers: options.url,
  name: options.name,
  authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(options["seed-file"], "utf8").trim())),
  // Answers come to a prefix of one's own; another is refused.
  inboxPrefix: `_INBOX_${options.name}`,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 500,
});
// A refused publish or subscription shows here and nowhere else: to the caller it looks like a timeout.
(async () => {
  for await (const status of client.status()) if (status.type === "error") console.log("nats:", status.error.message);
})();

let isStopping = false;
let messages;
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    isStopping = true;
    messages?.stop();
  });
}

// Subscribers reach the API by this prefix. The operator declared the consumer: it is bound to, never created.
const consumer = await jetstream(client, { apiPrefix: "WEDSYNC.API" }).consumers.get(options.stream, `${options.name}--events`);
console.log("ready");
while (!isStopping) {
  try {
    messages = await consumer.fetch({ max_messages: 16, expires: 1_000 });
    if (isStopping) break;
    for await (const message of messages) handle(message, inbox);
  } catch (error) {
    console.log("waiting for the consumer:", error.message);
    await pause(1_000); // The connection or the consumer is not there: it comes back, or the operator repairs it.
  }
}
await client.drain();
inbox.close();
