// node ws_server.js: an echo by Debian's node-ws; prints its port, then what it has heard and how
// each connection has ended.
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
server.on("listening", () => console.log(server.address().port));
server.on("connection", socket => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("close", code => console.log(`${socket.extensions} ${code}`));
});
