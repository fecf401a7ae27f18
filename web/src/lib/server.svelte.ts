import { api, type ServerInfo } from './api';

/** What the server says about itself; the documented defaults until it has answered. */
class Server {
  info = $state.raw<ServerInfo | null>(null);

  get silenceAfter(): number {
    return this.info?.silence_after ?? 600;
  }

  /** `open`, `invite` or `closed`. */
  get registration(): string {
    return this.info?.registration ?? 'open';
  }

  /** Whether it sends letters. */
  get mail(): boolean {
    return this.info?.mail ?? false;
  }

  async load(): Promise<void> {
    try {
      this.info = await api.server();
    } catch {
      // Asked again with the next connection; nothing here is needed to show readings.
    }
  }
}

export const server = new Server();
