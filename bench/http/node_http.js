// HTTP by Node's http module, one process.
const http = require('http');
const port = Number(process.argv[process.argv.indexOf('--port') + 1] || 0);
const body = 'Hello, World!';
const server = http.createServer((asked, answer) => {
  const found = asked.url === '/plaintext';
  answer.writeHead(found ? 200 : 404, {
    Server: 'node', 'Content-Type': 'text/plain', 'Content-Length': found ? body.length : 0});
  answer.end(found ? body : '');
});
server.listen(port, '127.0.0.1', 4096, () => {
  console.log(`ready: tcp 127.0.0.1:${server.address().port}`);
});
