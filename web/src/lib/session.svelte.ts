import { Backoff } from 'sensorcast-client';
import { api, authority, type Registration, type User } from './api';
import { explain } from './problem';

/** Not a secret: only says that asking for a refresh is worth a request. */
const flag = 'sensorcast.signedIn';

/** Who is at the page. `unreachable`: signed in as far as we know, but the server does not answer yet. */
class SessionState {
  state = $state<'starting' | 'in' | 'out' | 'unreachable'>('starting');
  user = $state.raw<User | null>(null);
  readonly #backoff = new Backoff();

  constructor() {
    authority.onSignedOut = () => this.#leave();
    // Signing in or out in another tab concerns this one too: the cookie is shared.
    addEventListener('storage', (event) => {
      if (event.key !== flag) return;
      if (event.newValue === null) this.#leave();
      else if (this.state === 'out') void this.start();
    });
  }

  async start(): Promise<void> {
    if (localStorage.getItem(flag) === null) {
      this.state = 'out';
      return;
    }
    try {
      if (!(await api.refresh())) return;
      this.user = await api.me();
      this.state = 'in';
    } catch (failure) {
      if (explain(failure).status === 401) return this.#leave();
      this.state = 'unreachable';
      setTimeout(() => void this.start(), this.#backoff.next());
    }
  }

  async signIn(login: string, password: string): Promise<void> {
    this.#enter((await api.login(login, password)).user as User);
  }

  async register(registration: Registration): Promise<void> {
    this.#enter((await api.register(registration)).user as User);
  }

  async signOut(everywhere = false): Promise<void> {
    // First of all here: the live socket must be gone before the server closes it as unauthorised. Should the server
    // not be reached, this browser has forgotten all the same, and the session ends when its time is up.
    this.#leave();
    await api.logout(everywhere);
  }

  #enter(user: User): void {
    localStorage.setItem(flag, '1');
    this.user = user;
    this.state = 'in';
  }

  #leave(): void {
    localStorage.removeItem(flag);
    this.user = null;
    this.state = 'out';
  }
}

export const session = new SessionState();
