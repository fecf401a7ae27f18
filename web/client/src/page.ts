/** What the page around a connection does; in Node, where there is none, nothing ever happens. */
export interface PageEvents {
  onOnline: () => void;
  onOffline: () => void;
  /** The page was hidden, or shown again. */
  onVisibility: () => void;
  /** Every ten seconds, and less often in a hidden page; not while the machine sleeps. */
  onTick: () => void;
  /** The machine slept: sockets may be dead without knowing. */
  onWake: () => void;
}

const tickMs = 10_000;
/** Hidden pages tick once a minute at worst; a longer pause means that the machine slept. */
const sleptMs = 90_000;

const scope = globalThis as { document?: Document; navigator?: { onLine?: boolean }; addEventListener?: typeof addEventListener };

export const isHidden = (): boolean => scope.document?.visibilityState === 'hidden';
export const isOnline = (): boolean => scope.navigator?.onLine !== false;

/** Watches until the returned function is called. */
export function watchPage(events: PageEvents): () => void {
  const stop = new AbortController();
  const options = { signal: stop.signal };
  scope.addEventListener?.('online', events.onOnline, options);
  scope.addEventListener?.('offline', events.onOffline, options);
  scope.document?.addEventListener('visibilitychange', events.onVisibility, options);
  let last = Date.now();
  const timer = setInterval(() => {
    const slept = Date.now() - last > sleptMs;
    last = Date.now();
    if (slept) events.onWake();
    else events.onTick();
  }, tickMs);
  return () => {
    clearInterval(timer);
    stop.abort();
  };
}
