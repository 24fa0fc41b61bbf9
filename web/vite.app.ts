import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin, type UserConfig } from 'vite';

/** Where `npm run dev` finds a gateway; the built page always talks to the server it came from. */
const gateway = process.env.DOORSTEP_GATEWAY ?? 'http://127.0.0.1:8000';

export function outDirOf(name: string): string {
  return fileURLToPath(new URL(`./dist/${name}`, import.meta.url));
}

/** How every app is built: its folder in `dist/` and its path are those of its line in `gateway/web.py`. */
export function app(name: string, path: string, plugins: Plugin[] = []): UserConfig {
  return defineConfig({
    base: `${path}/`,
    plugins: [react(), ...plugins],
    // MapLibre 6 ships its worker as an ES module.
    worker: { format: 'es' },
    build: {
      outDir: outDirOf(name),
      emptyOutDir: true,
      target: 'es2022',
      // MapLibre is one indivisible megabyte, loaded after the panels; the default limit would warn on every build.
      chunkSizeWarningLimit: 1400,
    },
    server: { proxy: { '/v1': gateway } },
  });
}
