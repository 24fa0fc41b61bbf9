/** Apps build on packages, packages on packages, and each says in its package.json on what. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const WEB = resolve(import.meta.dirname, '..');
const IMPORT = /(?:\bfrom|\bimport|@import|\burl\()\s*\(?['"]([^'"]+)['"]/g;

type Manifest = { name: string; dependencies?: Record<string, string> };

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(tsx?|css)$/.test(file) && !file.includes('node_modules'))
    .map((file) => join(folder, file));
}

const workspaces = ['apps', 'packages'].flatMap((kind) =>
  readdirSync(join(WEB, kind))
    .map((name) => join(WEB, kind, name))
    .filter((folder) => statSync(folder).isDirectory())
    .map((folder) => {
      const { name, dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
      const imports = filesIn(join(folder, 'src')).flatMap((file) =>
        [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(([, wanted = '']) => ({ file, wanted })),
      );
      return { kind, folder, name, dependencies: Object.keys(dependencies), imports };
    }),
);

/** `react-dom/client` is of `react-dom`, `@doorstep/ui/styles.css` of `@doorstep/ui`. */
function packageOf(wanted: string): string {
  return wanted.split('/', wanted.startsWith('@') ? 2 : 1).join('/');
}

/** Types alone, which all of the workspace shares. */
const SHARED: ReadonlySet<string> = new Set(['geojson']);

test('the imports are found', () => {
  const found = new Set(workspaces.flatMap(({ imports }) => imports.map(({ wanted }) => packageOf(wanted))));
  for (const name of ['react', 'maplibre-gl', '@doorstep/ui', '@fontsource/ibm-plex-mono']) expect(found).toContain(name);
});

test.each(workspaces)('$name imports what it names, and names what it imports', ({ folder, dependencies, imports }) => {
  // The compiler puts an import of react into whatever has JSX.
  const used = new Set<string>(filesIn(join(folder, 'src')).some((file) => file.endsWith('.tsx')) ? ['react'] : []);
  for (const { file, wanted } of imports) {
    if (wanted.startsWith('.')) {
      const target = relative(folder, resolve(dirname(file), wanted));
      expect(target.startsWith('..'), `${relative(WEB, file)} reaches for ${wanted}`).toBe(false);
    } else if (!SHARED.has(wanted)) used.add(packageOf(wanted));
  }
  // Files that a build only copies are in no import.
  const config = readdirSync(folder).includes('vite.config.ts') ? readFileSync(join(folder, 'vite.config.ts'), 'utf8') : '';
  expect([...used].filter((name) => !dependencies.includes(name))).toEqual([]);
  expect(dependencies.filter((name) => !used.has(name) && !config.includes(`'${name}/`))).toEqual([]);
});

test('no package needs an app, and none needs itself by way of others', () => {
  const packages = new Map(workspaces.filter(({ kind }) => kind === 'packages').map((one) => [one.name, one.dependencies]));
  const apps = new Set(workspaces.filter(({ kind }) => kind === 'apps').map(({ name }) => name));
  const reach = (name: string, way: string[]): void => {
    expect(way).not.toContain(name);
    for (const next of packages.get(name) ?? []) {
      expect(apps).not.toContain(next);
      if (packages.has(next)) reach(next, [...way, name]);
    }
  };
  for (const name of packages.keys()) reach(name, []);
});
