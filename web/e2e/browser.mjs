// Finds and starts Chromium; playwright-core brings none.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const flags = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export async function launch() {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(`no browser at ${executablePath}: apt-get install chromium, or set CHROMIUM to one`);
  }
  // Scroll bars are shown, as people see them.
  return chromium.launch({ executablePath, args: flags, ignoreDefaultArgs: ['--hide-scrollbars'] });
}

export const screens = {
  phone: { viewport: { width: 360, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
  desk: { viewport: { width: 1440, height: 900 } },
};

/** A picture of the whole page, which must not be wider than the screen. */
export async function shoot(page, path) {
  // A frame for the chart, and the second hand for "… ago".
  await page.waitForTimeout(600);
  await page.screenshot({ path, fullPage: true });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (overflow > 0) throw new Error(`${path}: the page is ${overflow} px wider than the screen`);
}
