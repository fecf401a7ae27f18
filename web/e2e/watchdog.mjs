// Collects whatever a page should never say: script errors, console errors, policy violations, requests that leave the server.

// Chromium itself logs these when a server is away; no script can keep it from doing so.
const connectFailure = /WebSocket connection to .* failed|Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)/;
const refusal = /Failed to load resource: the server responded with a status of 4\d\d/;

export class Watchdog {
  complaints = [];
  /** True while the server is being restarted. */
  restarting = false;
  /** True while the server is meant to refuse something; Chromium logs that, too. */
  refusing = false;

  async watch(page, label) {
    const complain = (text) => this.complaints.push(`${label}: ${text}`);
    page.on('pageerror', (error) => complain(`script error: ${error.stack ?? error.message}`));
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      if (this.restarting && connectFailure.test(message.text())) return;
      if (this.refusing && refusal.test(message.text())) return;
      complain(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (!['127.0.0.1', 'localhost'].includes(url.hostname) && url.protocol !== 'data:') complain(`request left the server: ${url}`);
    });
    await page.exposeFunction('reportViolation', (what) => complain(`policy violation: ${what}`));
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        window.reportViolation(`${event.violatedDirective} blocked ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`);
      });
    });
  }

  check() {
    if (this.complaints.length > 0) throw new Error(`the pages complained:\n  ${this.complaints.join('\n  ')}`);
  }
}
