// A worker in another language: gives back what it got.

const net = require("node:net");

const channel = new net.Socket({ fd: 3, readable: true, writable: true });

function send(header, body = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify(header));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(text.length, 0);
  lengths.writeUInt32LE(body.length, 4);
  channel.write(Buffer.concat([lengths, text, body]));
}

let received = Buffer.alloc(0);

channel.on("data", (chunk) => {
  received = Buffer.concat([received, chunk]);
  while (received.length >= 8) {
    const bodyAt = 8 + received.readUInt32LE(0);
    const end = bodyAt + received.readUInt32LE(4);
    if (received.length < end) return;
    const message = JSON.parse(received.subarray(8, bodyAt));
    const body = received.subarray(bodyAt, end);
    received = received.subarray(end);
    if (message.type === "run") send({ type: "done", id: message.id, headers: message.headers }, body);
    if (message.type === "exit") channel.end();
  }
});

send({ type: "hello", protocol: 1, client: "plain.js/1", concurrency: 4, tasks: [{ name: "echo" }] });
