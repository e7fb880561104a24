// node ws_client.js URL: talks to an echo with Debian's node-ws, with and without compression.
const WebSocket = require("ws");
const assert = require("assert");
const url = process.argv[2];

function visit(options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, options);
    const sent = ["hello", "", "grüße, 世界 😀", Buffer.from([0, 255, 254]), "x".repeat(70000),
                  Buffer.alloc(300000, 7), "y".repeat(1000), "y".repeat(1000)];
    let heard = 0;
    let pongs = 0;
    socket.on("error", reject);
    socket.on("pong", data => { assert.equal(data.toString(), "are you there"); ++pongs; });
    socket.on("open", () => {
      socket.ping("are you there");
      for (const each of sent) socket.send(each);
      socket.send("in ", { fin: false });
      socket.send("three ", { fin: false });
      socket.send("parts", { fin: true });
      sent.push("in three parts");
    });
    socket.on("message", (data, isBinary) => {
      const expected = sent[heard++];
      assert.equal(isBinary, Buffer.isBuffer(expected));
      assert.ok(data.equals(Buffer.from(expected)), `message ${heard}`);
      if (heard === sent.length) socket.close(4000, "enough");
    });
    socket.on("close", (code, reason) => {
      assert.equal(code, 4000);
      assert.equal(pongs, 1);
      resolve(socket.extensions);
    });
  });
}

(async () => {
  assert.equal(await visit({ perMessageDeflate: false }), "");
  assert.match(await visit({ perMessageDeflate: true }), /permessage-deflate/);
  assert.match(await visit({ perMessageDeflate: { serverMaxWindowBits: 10, clientMaxWindowBits: 11 } }),
               /permessage-deflate/);
  const refused = new WebSocket(url, { origin: "https://elsewhere.test" });
  refused.on("unexpected-response", (_, answer) => {
    assert.equal(answer.statusCode, 403);
    console.log("good");
    process.exit(0);
  });
  refused.on("open", () => process.exit(1));
})().catch(error => { console.error(error); process.exit(1); });
