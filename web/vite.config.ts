import { copyFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';

// A build empties dist/, placeholder included; without it git would show a deletion after every build.
const keepPlaceholder = {
  name: 'keep-placeholder',
  closeBundle: () => writeFileSync(new URL('dist/.gitkeep', import.meta.url), ''),
};

// The client as pages without a bundler import it from the server, at a name that stays. `npm run build` makes it first.
const clientFile = {
  name: 'client-file',
  closeBundle: () => copyFileSync(new URL('client/dist/index.js', import.meta.url), new URL('dist/client.js', import.meta.url)),
};

export default defineConfig(({ command }) => ({
  plugins: [svelte(), svelteTesting(), ...(command === 'build' ? [keepPlaceholder, clientFile] : [])],
  // From source: what the dashboard tries in front of everybody is what others get.
  resolve: { alias: { 'sensorcast-client': fileURLToPath(new URL('client/src/index.ts', import.meta.url)) } },
  build: {
    rolldownOptions: { input: { index: 'index.html', docs: 'docs.html' } },
    // The content security policy forbids inline script and data: fonts, so nothing is inlined.
    assetsInlineLimit: 0,
    // The preload shim would be the only thing in need of an exception; our few chunks do not need it.
    modulePreload: { polyfill: false },
    // The API page is one big renderer, loaded by itself only when somebody opens /docs.
    chunkSizeWarningLimit: 2000,
  },
  // Most tests are of plain values; the few that render ask for a document themselves.
  test: { include: ['src/**/*.test.ts', 'client/src/**/*.test.ts'] },
  // `npm run dev` beside a running server.
  server: {
    proxy: {
      '/api': 'http://127.0.0.1:8080',
      '/openapi.json': 'http://127.0.0.1:8080',
      '/ws': { target: 'ws://127.0.0.1:8080', ws: true },
    },
  },
}));
