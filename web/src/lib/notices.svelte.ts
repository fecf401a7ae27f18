import type { Alert } from 'sensorcast-client';
import { announcement } from './incident';

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

  /** Only what is wrong and looked after by nobody is in the colour of alarm. */
  alert(alert: Alert): void {
    const kind = alert.state === 'resolved' || alert.acknowledgedAt !== null ? 'info' : 'alert';
    this.#add({ id: this.#next++, kind, text: announcement(alert), serial: alert.serial });
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
