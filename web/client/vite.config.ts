import { defineConfig } from 'vite';

/** One file without imports, for bundlers and for `<script type="module">` alike. The types are written by tsc. */
export default defineConfig({
  build: {
    target: 'es2022',
    sourcemap: false,
    lib: { entry: 'src/index.ts', formats: ['es'], fileName: () => 'index.js' },
  },
});
