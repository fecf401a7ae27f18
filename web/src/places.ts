import type { Component } from 'svelte';
import { alerts } from './lib/alerts.svelte';
import type { IconName } from './lib/icons';
import { match } from './lib/pattern';
import Activity from './pages/account/Activity.svelte';
import Profile from './pages/account/Profile.svelte';
import Security from './pages/account/Security.svelte';
import Sessions from './pages/account/Sessions.svelte';
import Tokens from './pages/account/Tokens.svelte';
import Add from './pages/Add.svelte';
import Alerts from './pages/alerts/Alerts.svelte';
import Channels from './pages/alerts/Channels.svelte';
import Rules from './pages/alerts/Rules.svelte';
import Accounts from './pages/admin/Accounts.svelte';
import Audit from './pages/admin/Audit.svelte';
import Inbox from './pages/admin/Inbox.svelte';
import Invitations from './pages/admin/Invitations.svelte';
import Claim from './pages/Claim.svelte';
import ConfirmEmail from './pages/ConfirmEmail.svelte';
import ForgotPassword from './pages/ForgotPassword.svelte';
import Home from './pages/Home.svelte';
import Import from './pages/Import.svelte';
import Register from './pages/Register.svelte';
import ResetPassword from './pages/ResetPassword.svelte';
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
  entry?: { label: string; icon: IconName; /** What waits there. */ count?: () => number };
  /** Its entry among the pages it is shown with. */
  room?: { of: 'Alerts' | 'Account' | 'Administration'; label: string };
}

/** Every page there is, in the order of the bar. */
export const places: Place[] = [
  { path: '/', page: Home, who: 'in', entry: { label: 'Sensors', icon: 'grid' } },
  { path: '/sensors/:serial', page: Sensor, who: 'in' },
  { path: '/alerts', page: Alerts, who: 'in', entry: { label: 'Alerts', icon: 'bell', count: () => alerts.open.length }, room: { of: 'Alerts', label: 'What is wrong' } },
  { path: '/alerts/rules', page: Rules, who: 'in', room: { of: 'Alerts', label: 'Rules' } },
  { path: '/alerts/channels', page: Channels, who: 'in', room: { of: 'Alerts', label: 'How I am told' } },
  { path: '/add', page: Add, who: 'in', entry: { label: 'Add sensor', icon: 'plus' } },
  { path: '/import', page: Import, who: 'in' },
  { path: '/claim', page: Claim, who: 'in' },
  { path: '/claim/:serial', page: Claim, who: 'in' },
  { path: '/admin/accounts', page: Accounts, who: 'in', admin: true, entry: { label: 'Admin', icon: 'people' }, room: { of: 'Administration', label: 'Accounts' } },
  { path: '/admin/invitations', page: Invitations, who: 'in', admin: true, room: { of: 'Administration', label: 'Invitations' } },
  { path: '/admin/inbox', page: Inbox, who: 'in', admin: true, room: { of: 'Administration', label: 'Inbox' } },
  { path: '/admin/activity', page: Audit, who: 'in', admin: true, room: { of: 'Administration', label: 'Activity' } },
  { path: '/account', page: Profile, who: 'in', entry: { label: 'Account', icon: 'person' }, room: { of: 'Account', label: 'Profile' } },
  { path: '/account/security', page: Security, who: 'in', room: { of: 'Account', label: 'Security' } },
  { path: '/account/sessions', page: Sessions, who: 'in', room: { of: 'Account', label: 'Sessions' } },
  { path: '/account/tokens', page: Tokens, who: 'in', room: { of: 'Account', label: 'API tokens' } },
  { path: '/account/activity', page: Activity, who: 'in', room: { of: 'Account', label: 'Activity' } },
  { path: '/signin', page: SignIn, who: 'out' },
  { path: '/register', page: Register, who: 'any' },
  { path: '/forgot-password', page: ForgotPassword, who: 'out' },
  { path: '/reset-password', page: ResetPassword, who: 'any' },
  { path: '/confirm-email', page: ConfirmEmail, who: 'any' },
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
