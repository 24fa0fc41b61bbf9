import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import type { Plugin } from 'vite';

import { app, outDirOf } from '../../vite.app.ts';

const require = createRequire(import.meta.url);

/** The gateway's /docs and /redoc, so that they too work without a network: see `gateway/rest/apidocs.py`. */
const apiDocs: Plugin = {
  name: 'api-docs',
  apply: 'build',
  closeBundle() {
    const target = join(outDirOf('ops'), 'api-docs');
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

export default app('ops', '/ops', [apiDocs]);
