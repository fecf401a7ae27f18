import { Backoff } from 'sensorcast-client';
import { api, authority, type Registration, type SignIn, type User } from './api';
import { explain } from './problem';

/** Not a secret: only says that asking for a refresh is worth a request. */
const flag = 'sensorcast.signedIn';

/** Who is at the page. `unreachable`: signed in as far as we know, but the server does not answer yet. */
class SessionState {
  state = $state<'starting' | 'in' | 'out' | 'unreachable'>('starting');
  user = $state.raw<User | null>(null);
  /** The server ended it, or another tab did: whoever looks here did not sign out on this page. */
  ended = $state(false);
  readonly #backoff = new Backoff();

  constructor() {
    authority.onSignedOut = () => this.#leave(true);
    // Signing in or out in another tab concerns this one too: the cookie is shared.
    addEventListener('storage', (event) => {
      if (event.key !== flag) return;
      if (event.newValue === null) this.#leave(true);
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
      if (explain(failure).status === 401) return this.#leave(true);
      this.state = 'unreachable';
      setTimeout(() => void this.start(), this.#backoff.next());
    }
  }

  async signIn(signIn: SignIn): Promise<void> {
    this.#enter((await api.login(signIn)).user as User);
  }

  async register(registration: Registration): Promise<void> {
    this.#enter((await api.register(registration)).user as User);
  }

  async signOut(): Promise<void> {
    // First of all here: the live socket must be gone before the server closes it as unauthorised. Should the server
    // not be reached, this browser has forgotten all the same, and the session ends when its time is up.
    this.#leave(false);
    await api.logout();
  }

  /** Deletes the account, with all that is its own. */
  async resign(password: string): Promise<void> {
    await api.deleteMe(password);
    this.#leave(false);
  }

  /** Asks who one is again, after something was changed elsewhere. */
  async reload(): Promise<void> {
    if (this.state === 'in') this.user = await api.me();
  }

  #enter(user: User): void {
    localStorage.setItem(flag, '1');
    this.user = user;
    this.ended = false;
    this.state = 'in';
  }

  #leave(ended: boolean): void {
    this.ended = ended && (this.ended || this.state !== 'out');
    localStorage.removeItem(flag);
    this.user = null;
    this.state = 'out';
  }
}

export const session = new SessionState();
