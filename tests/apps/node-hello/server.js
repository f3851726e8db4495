// A Node app with nothing but Node: serves the file beside it. It listens on the socket that systemd
// passes (LISTEN_FDS), else on $SOCKET, else on $PORT; on SIGTERM it finishes and exits with 0.
'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');

// First descriptor that systemd passes (sd_listen_fds(3)).
const LISTEN_FDS_START = 3;

const page = fs.readFileSync(path.join(__dirname, 'index.html'), 'utf8');
const born = Date.now();

const server = http.createServer((request, response) => {
  if (request.url === '/health') {
    response.end('ok\n');
    return;
  }
  const awake = ((Date.now() - born) / 1000).toFixed(1);
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(page.replace('{pid}', process.pid).replace('{awake}', awake));
});

const { LISTEN_PID, SOCKET, PORT } = process.env;
if (LISTEN_PID === String(process.pid)) {
  server.listen({ fd: LISTEN_FDS_START });
} else if (SOCKET) {
  server.listen(SOCKET);
} else {
  server.listen(Number(PORT), '127.0.0.1');
}

process.on('SIGTERM', () => {
  server.close();
  if (server.closeIdleConnections) server.closeIdleConnections();
});
