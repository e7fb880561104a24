// HTTP and HTTPS servers with what http_client has to understand:
// node node_server.js CERTIFICATE KEY
const http = require('http'), https = require('https'), fs = require('fs'), zlib = require('zlib');
const seen = {};
function answer(ask, to) {
  seen[ask.url] = (seen[ask.url] || 0) + 1;
  if (ask.url === '/chunked') {
    let count = 0;
    const next = () => { to.write('chunk ' + ++count + '\n');
                         count < 1000 ? setImmediate(next) : to.end(); };
    next();
  } else if (ask.url === '/trailers') {
    to.writeHead(200, {Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked'});
    to.write('text');
    to.addTrailers({'X-Sum': '4'});
    to.end();
  } else if (ask.url === '/gzip') {
    to.setHeader('Content-Encoding', ask.headers['accept-encoding'].includes('gzip')
                                         ? 'gzip' : 'identity');
    zlib.gzip('text'.repeat(100000), (_, packed) => to.end(packed));
  } else if (ask.url === '/later' && seen[ask.url] < 2) {
    // Before it is asked again the connection has been closed: an idle one lives for 100 ms,
    // and the second in which node adds to it for good measure is less than what we wait.
    to.writeHead(503, {'Retry-After': '2'});
    to.end('busy');
  } else if (ask.url === '/refused') {
    to.writeHead(413, {Connection: 'close'});
    to.end('too large');
  } else if (ask.url === '/moved') {
    to.writeHead(307, {Location: '/echo'});
    ask.resume().on('end', () => to.end());
  } else {
    to.setHeader('X-Asked', ask.method + ' ' + ask.headers['transfer-encoding']);
    ask.pipe(to);
  }
}
const plain = http.createServer({keepAliveTimeout: 100}, answer);
const secure = https.createServer({cert: fs.readFileSync(process.argv[2]),
                                   key: fs.readFileSync(process.argv[3])}, answer);
plain.listen(0, '127.0.0.1', () => secure.listen(0, '127.0.0.1', () => process.stdout.write(
  'ready: http 127.0.0.1:' + plain.address().port + '\n' +
  'ready: https 127.0.0.1:' + secure.address().port + '\n')));
