import type { Component } from 'svelte';
import type { IconName } from './lib/icons';
import { match } from './lib/pattern';
import Account from './pages/Account.svelte';
import Add from './pages/Add.svelte';
import Claim from './pages/Claim.svelte';
import Home from './pages/Home.svelte';
import Import from './pages/Import.svelte';
import Inbox from './pages/Inbox.svelte';
import Register from './pages/Register.svelte';
import Sensor from './pages/Sensor.svelte';
import SignIn from './pages/SignIn.svelte';

/** A page and where it is. Its parameters, `:name` in the path, are its props. */
export interface Place {
  path: string;
  page: Component<any>;
  /** Who has it: those signed in, those who are not, or everybody. */
  who: 'in' | 'out' | 'any';
  admin?: boolean;
  /** Its entry in the bar at the top. */
  entry?: { label: string; icon: IconName };
}

/** Every page there is, in the order of the bar. */
export const places: Place[] = [
  { path: '/', page: Home, who: 'in', entry: { label: 'Sensors', icon: 'grid' } },
  { path: '/sensors/:serial', page: Sensor, who: 'in' },
  { path: '/add', page: Add, who: 'in', entry: { label: 'Add a sensor', icon: 'plus' } },
  { path: '/import', page: Import, who: 'in' },
  { path: '/claim', page: Claim, who: 'in' },
  { path: '/claim/:serial', page: Claim, who: 'in' },
  { path: '/admin/inbox', page: Inbox, who: 'in', admin: true },
  { path: '/account', page: Account, who: 'in', entry: { label: 'Account', icon: 'person' } },
  { path: '/signin', page: SignIn, who: 'out' },
  { path: '/register', page: Register, who: 'out' },
];

/** Finds the page at an address for who is at it, with its parameters. */
export function placeAt(address: string, signedIn: boolean, admin: boolean): { place: Place; params: Record<string, string> } | undefined {
  for (const place of places) {
    if (place.who === (signedIn ? 'out' : 'in') || (place.admin && !admin)) continue;
    const params = match(place.path, address);
    if (params) return { place, params };
  }
  return undefined;
}
