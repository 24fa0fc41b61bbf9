import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** Where `npm run dev` finds a gateway; the built page always talks to the server it came from. */
const gateway = process.env.DOORSTEP_GATEWAY ?? 'http://127.0.0.1:8000';

export default defineConfig({
  base: '/ops/',
  plugins: [react()],
  // MapLibre 6 ships its worker as an ES module.
  worker: { format: 'es' },
  build: {
    outDir: 'dist',
    target: 'es2022',
    // MapLibre is one indivisible megabyte, loaded after the panels; the default limit would warn on every build.
    chunkSizeWarningLimit: 1400,
  },
  server: { proxy: { '/v1': gateway } },
});
