import type { Alert } from 'sensorcast-client';

export interface Notice {
  id: number;
  kind: 'info' | 'alert';
  text: string;
  serial?: string;
}

const shown = 3;
const lifeMs = 6_000;

/** Short messages that announce themselves and leave. At most three: more would cover the page. */
class Notices {
  list = $state.raw<Notice[]>([]);
  #next = 1;

  info(text: string): void {
    this.#add({ id: this.#next++, kind: 'info', text });
  }

  alert(alert: Pick<Alert, 'serial' | 'state' | 'message'>): void {
    const text = alert.message || `${alert.serial}: alert ${alert.state}`;
    this.#add({ id: this.#next++, kind: alert.state === 'resolved' ? 'info' : 'alert', text, serial: alert.serial });
  }

  dismiss(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }

  #add(notice: Notice): void {
    this.list = [...this.list, notice].slice(-shown);
    setTimeout(() => this.dismiss(notice.id), lifeMs);
  }
}

export const notices = new Notices();
