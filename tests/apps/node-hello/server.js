// A web app with nothing but Node. It listens on the socket that systemd
// passes (LISTEN_FDS), else on $SOCKET, else on $PORT; on SIGTERM it finishes and exits with 0.
'use strict';

const http = require('http');

// First descriptor that systemd passes (sd_listen_fds(3)).
const LISTEN_FDS_START = 3;

const page = (awake) => `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Hello from Node</title>
<style>body { font: 1.1em/1.5 system-ui; max-width: 34em; margin: 3em auto; padding: 0 1em }</style>
<h1>Hello from Node</h1>
<p>Process ${process.pid}, awake for ${awake} s. It will be stopped when nobody has asked for it for a
while, and started again by the next request.</p>
</html>
`;
const born = Date.now();

const server = http.createServer((request, response) => {
  if (request.url === '/health') {
    response.end('ok\n');
    return;
  }
  const awake = ((Date.now() - born) / 1000).toFixed(1);
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(page(awake));
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
