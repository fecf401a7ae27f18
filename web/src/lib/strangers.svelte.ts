import { api, type Stranger } from './api';
import { explain, type Problem } from './problem';

/** They have no frames; the server itself lists them some seconds late. */
const pollMs = 15_000;

/** Sensors that tried to connect and that nobody knows, for admins. */
class Strangers {
  list = $state.raw<Stranger[]>([]);
  loaded = $state(false);
  problem = $state.raw<Problem | null>(null);

  /** Asks every now and then while the page is looked at, until the returned function is called. */
  watch(): () => void {
    void this.load();
    const timer = setInterval(() => {
      if (document.visibilityState !== 'hidden') void this.load();
    }, pollMs);
    return () => {
      clearInterval(timer);
      this.list = [];
      this.loaded = false;
    };
  }

  async load(): Promise<void> {
    try {
      this.list = await api.strangers();
      this.loaded = true;
      this.problem = null;
    } catch (failure) {
      this.problem = explain(failure);
    }
  }

  /** One is adopted or dismissed. */
  forget(serial: string): void {
    this.list = this.list.filter((stranger) => stranger.serial_no !== serial);
  }
}

export const strangers = new Strangers();
