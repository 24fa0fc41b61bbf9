import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const require = createRequire(import.meta.url);
const outDir = '../../dist/ops';

/** Where `npm run dev` finds a gateway; the built page always talks to the server it came from. */
const gateway = process.env.DOORSTEP_GATEWAY ?? 'http://127.0.0.1:8000';

/** The gateway's /docs and /redoc, so that they too work without a network: see `gateway/http/apidocs.py`. */
const apiDocs: Plugin = {
  name: 'api-docs',
  apply: 'build',
  closeBundle() {
    const target = join(outDir, 'api-docs');
    mkdirSync(target, { recursive: true });
    for (const file of [
      'swagger-ui-dist/swagger-ui-bundle.js',
      'swagger-ui-dist/swagger-ui.css',
      'redoc/bundles/redoc.standalone.js',
    ]) {
      copyFileSync(require.resolve(file), join(target, basename(file)));
    }
  },
};

export default defineConfig({
  base: '/ops/',
  plugins: [react(), apiDocs],
  // MapLibre 6 ships its worker as an ES module.
  worker: { format: 'es' },
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // MapLibre is one indivisible megabyte, loaded after the panels; the default limit would warn on every build.
    chunkSizeWarningLimit: 1400,
  },
  server: { proxy: { '/v1': gateway } },
});
