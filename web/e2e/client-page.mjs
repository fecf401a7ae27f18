// What the test's page does with the client: it keeps everything it hears, and waits for what the test wants to see.
const patienceMs = 15_000;

export const heard = { readings: [], hellos: [], gaps: [], statuses: [], errors: [] };
export let connection;

/** `server` is where /client.js is from; the page's own ticket function is window.ticket. */
export async function open(server, options = {}) {
  for (const list of Object.values(heard)) list.length = 0;
  const { connect } = await import(`${server}/client.js`);
  connection = connect({
    url: server,
    ticket: () => window.ticket(),
    onReading: ({ seq, serial, data }) => heard.readings.push({ seq, serial, value: data.value }),
    onHello: ({ resumed }) => heard.hellos.push(resumed),
    onGap: ({ reason }) => heard.gaps.push(reason),
    onStatus: (status) => heard.statuses.push({ name: status.name, code: status.error?.code }),
    onError: ({ code, message }) => heard.errors.push(`${code}: ${message}`),
    ...options,
  });
}

/** Waits until `is(heard)` holds. */
export async function until(is, what) {
  const end = Date.now() + patienceMs;
  while (!is(heard)) {
    if (Date.now() > end) throw new Error(`${what}: it did not come; heard ${JSON.stringify(heard).slice(-1500)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export const live = () => until(() => connection.status.name === 'live', 'live');
export const values = (wanted) => until(({ readings }) => readings.some(({ value }) => value === wanted), `value ${wanted}`);

/** The outcome of a command in words. */
export const command = (...all) => connection.command(...all).then(({ commandId }) => `stored ${typeof commandId}`, ({ code }) => `refused ${code}`);
