import { stateOf, type Entry, type State } from './fleet';

export type Sort = 'name' | 'seen' | 'state';

export interface Choice {
  q: string;
  state: State | '';
  tag: string;
  /** One's own sensors, or those of others. */
  whose: 'own' | 'shared' | '';
  sort: Sort;
}

export interface Listing {
  entries: Entry[];
  counts: Record<State, number>;
  tags: string[];
  /** Whether there are sensors of others at all. */
  shared: boolean;
}

/** What needs a look comes first. */
const urgency: Record<State, number> = { silent: 0, never_seen: 1, online: 2 };
const byName = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Filters and sorts the fleet. Counts are of what search and tag leave, so the state buttons tell what they would show. */
export function listing(all: Entry[], choice: Choice, serverNow: number, silenceDefault: number): Listing {
  const counts: Record<State, number> = { online: 0, silent: 0, never_seen: 0 };
  const tags = new Set<string>();
  let shared = false;
  const words = choice.q.toLowerCase().split(/\s+/).filter(Boolean);
  const kept: { entry: Entry; state: State; name: string }[] = [];
  for (const entry of all) {
    const foreign = isShared(entry);
    shared ||= foreign;
    if (choice.whose !== '' && foreign !== (choice.whose === 'shared')) continue;
    const own = entry.sensor?.tags ?? [];
    own.forEach((tag) => tags.add(tag));
    if (choice.tag !== '' && !own.includes(choice.tag)) continue;
    if (!words.every((word) => haystack(entry).includes(word))) continue;
    const state = stateOf(entry, serverNow, silenceDefault);
    counts[state]++;
    if (choice.state === '' || choice.state === state) kept.push({ entry, state, name: entry.name || entry.serial });
  }
  const alphabetical = (a: (typeof kept)[0], b: (typeof kept)[0]) =>
    byName.compare(a.name, b.name) || byName.compare(a.entry.serial, b.entry.serial);
  kept.sort((a, b) => {
    if (choice.sort === 'seen') return (b.entry.lastSeen ?? 0) - (a.entry.lastSeen ?? 0) || alphabetical(a, b);
    if (choice.sort === 'state') return urgency[a.state] - urgency[b.state] || alphabetical(a, b);
    return alphabetical(a, b);
  });
  return { entries: kept.map(({ entry }) => entry), counts, tags: [...tags].sort(byName.compare), shared };
}

export const isShared = ({ sensor }: Entry): boolean => sensor !== null && sensor.access !== 'owner';

function haystack({ serial, name, sensor }: Entry): string {
  const words = [serial, name, sensor?.description, sensor?.sensor_type, sensor?.manufacturer, ...(sensor?.tags ?? [])];
  return words.join(' ').toLowerCase();
}
