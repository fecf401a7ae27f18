// What the test's page does with a browser's own EventSource: it keeps what it hears, and comes back by itself with the token it was given.
const patienceMs = 15_000;
const names = ['hello', 'reading', 'state', 'gap', 'resume', 'problem', 'close'];

export const heard = { values: [], hellos: [], gaps: [], closes: [], refused: 0 };
let source;
let token;
let last = '';

/** Opens a stream by a ticket. `server` may be another origin than the page's. */
export function open(server, ticket) {
  listen(server, `ticket=${ticket}`);
}

function listen(server, query) {
  source = new EventSource(`${server}/api/v1/events?${query}`);
  for (const name of names) source.addEventListener(name, (event) => take(name, event));
  // The browser tries again by itself, with the address it has, whose ticket is spent by then: refused, it gives up, and a new address helps.
  source.addEventListener('error', () => {
    if (source.readyState !== EventSource.CLOSED) return;
    heard.refused++;
    if (token && heard.closes.length === 0) listen(server, `resume=${token}&since=${last}`);
    token = undefined;
  });
}

function take(name, { data, lastEventId }) {
  const frame = JSON.parse(data);
  if (name === 'resume') token = frame.token;
  if (name === 'gap') heard.gaps.push(frame.reason);
  if (name === 'hello') heard.hellos.push(frame.resumed);
  if (name === 'reading') heard.values.push(frame.data.value);
  if (name === 'reading' && lastEventId !== String(frame.seq)) throw new Error(`id ${lastEventId} of seq ${frame.seq}`);
  if (name === 'close') {
    heard.closes.push(frame.code);
    source.close();
  }
  last = lastEventId;
}

/** Waits until `is(heard)` holds. */
export async function until(is, what) {
  const end = Date.now() + patienceMs;
  while (!is(heard)) {
    if (Date.now() > end) throw new Error(`${what}: it did not come; heard ${JSON.stringify(heard)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export const value = (wanted) => until(({ values }) => values.includes(wanted), `value ${wanted}`);
