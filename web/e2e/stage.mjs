// What every play needs: the binary with a directory of its own, a browser, tabs under a watchdog, and an end that leaves nothing behind.
//   SENSORCAST_BIN  the binary (default ../bin/sensorcast)
//   CHROMIUM        the browser (default /usr/bin/chromium)
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch, screens } from './browser.mjs';
import { startServer } from './server.mjs';
import { Watchdog } from './watchdog.mjs';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const shots = join(here, 'shots');
export const work = mkdtempSync(join(tmpdir(), 'sensorcast-e2e-'));
export const waitMs = 20_000;
export const watchdog = new Watchdog();
export let server, browser;

const binary = resolve(process.env.SENSORCAST_BIN || join(here, '../../bin/sensorcast'));
const props = [];

/** Plays the acts, says how it went, and ends all that was started for them. */
export async function play(name, acts) {
  mkdirSync(shots, { recursive: true });
  try {
    browser = await launch();
    await acts();
    watchdog.check();
    console.log(`${name} passed`);
  } catch (failure) {
    console.error(`${name} failed: ${failure.stack ?? failure}`);
    if (watchdog.complaints.length > 0) console.error(`the pages also said:\n  ${watchdog.complaints.join('\n  ')}`);
    if (server) console.error(`last lines of the server's log:\n${server.log.slice(-15).join('\n')}`);
    const pages = browser?.contexts().flatMap((context) => context.pages()) ?? [];
    for (const [i, page] of pages.entries()) await page.screenshot({ path: join(shots, `failed-${i}.png`) }).catch(() => {});
    process.exitCode = 1;
  } finally {
    await browser?.close();
    for (const prop of props) prop.close();
    await server?.stop().catch((failure) => {
      console.error(String(failure));
      process.exitCode = 1;
    });
    rmSync(work, { recursive: true, force: true });
  }
}

/** Starts the server with these flags; after a stop it starts again where it was. */
export async function serve(flags = [], addr = server?.addr) {
  server = await startServer(binary, join(work, 'data'), addr, flags);
}

/** Something else the play needs, which is closed at its end. */
export function own(prop) {
  props.push(prop);
  return prop;
}

export function step(text) {
  console.log(`· ${text}`);
}

export function origin() {
  return `http://${server.addr.http}`;
}

/** A watched tab of somebody who has none yet. */
export async function tab(who, options = screens.desk) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(waitMs);
  const page = await context.newPage();
  await watchdog.watch(page, who);
  return page;
}

/** A tab on both screens in both themes. Each visit rotates the refresh cookie, so the next one continues from where the last ended. */
export async function* looks(storageState) {
  for (const [screen, options] of Object.entries(screens)) {
    for (const colorScheme of ['light', 'dark']) {
      const label = `${screen}-${colorScheme}`;
      const page = await tab(label, { ...options, colorScheme, storageState });
      yield { label, page, options: { ...options, colorScheme } };
      storageState = await page.context().storageState();
      await page.context().close();
    }
  }
}

export function live(page) {
  return page.locator('[data-testid=connection][data-phase=live]').waitFor();
}

export function same(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}
