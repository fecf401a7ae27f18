// Starts and stops the real sensorcast binary, reading the chosen addresses from its log.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const startTimeoutMs = 20_000;
const stopTimeoutMs = 15_000;
const wanted = ['http', 'mqtt', 'admin'];

/** Resolves when every listener is up: { addr: {http, mqtt, admin}, stop() }. `addr` may fix the ports of an earlier run; `more` are flags. */
export function startServer(binary, dataDir, addr = {}, more = []) {
  const at = (name) => addr[name] ?? '127.0.0.1:0';
  const args = [
    'serve',
    ...['--http-listen', at('http'), '--mqtt-listen', at('mqtt'), '--admin-listen', at('admin')],
    ...['--data-dir', dataDir, '--log-level', 'info'],
    ...more,
  ];
  // Only the flags above configure it: whoever runs the tests may have settings of their own.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SENSORCAST_')));
  const child = spawn(binary, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const log = [];
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));

  async function stop() {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    const { code, signal } = await exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`SIGTERM did not end the server cleanly: code ${code}, signal ${signal}\n${log.join('\n')}`);
  }

  return new Promise((resolve, reject) => {
    const found = {};
    const give = (failure) => {
      clearTimeout(timer);
      if (failure) child.kill('SIGKILL');
      failure ? reject(new Error(`${failure}\n${log.join('\n')}`)) : resolve({ addr: found, stop, log });
    };
    const timer = setTimeout(() => give(`the server did not announce ${wanted} within ${startTimeoutMs} ms`), startTimeoutMs);
    child.once('error', (error) => give(`cannot start ${binary}: ${error.message}`));
    child.once('exit', (code) => give(`the server ended by itself with code ${code}`));
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      if (log.length > 200) log.shift();
      let entry;
      try {
        entry = JSON.parse(line);
      } catch {
        return;
      }
      if (entry.msg !== 'listening' || !entry.listener) return;
      found[entry.listener] = entry.addr;
      if (wanted.every((name) => found[name])) give();
    });
  });
}

/** A port for what has to be known before it listens. */
export async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}
