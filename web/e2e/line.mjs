// A TCP line to the server that can be cut: what a tunnel, a closed lid or a bad cable does to a page.
import { connect, createServer } from 'node:net';

export async function layLine(target) {
  const [host, port] = target.split(':');
  const open = new Set();
  let up = true;
  const server = createServer((near) => {
    if (!up) return near.destroy();
    const far = connect(Number(port), host);
    for (const [socket, other] of [[near, far], [far, near]]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => (open.delete(socket), other.destroy()));
      socket.pipe(other);
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    addr: `127.0.0.1:${server.address().port}`,
    /** Every connection breaks, and new ones do too until mend(). */
    cut() {
      up = false;
      for (const socket of open) socket.resetAndDestroy();
    },
    mend: () => (up = true),
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
