/**
 * Checks for JSON that arrives from outside. Each returns the value with its type or throws a `ShapeError` that names
 * the path, so that a bad frame in the log says where it was bad.
 */

export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

export type Check<T> = (value: unknown, path: string) => T;

function fail(path: string, wanted: string): never {
  throw new ShapeError(`${path}: expected ${wanted}`);
}

export const text: Check<string> = (value, path) => (typeof value === 'string' ? value : fail(path, 'a string'));

export const flag: Check<boolean> = (value, path) => (typeof value === 'boolean' ? value : fail(path, 'a boolean'));

export const num: Check<number> = (value, path) =>
  typeof value === 'number' && Number.isFinite(value) ? value : fail(path, 'a number');

export function oneOf<const T extends string>(...allowed: T[]): Check<T> {
  return (value, path) =>
    (allowed as readonly unknown[]).includes(value) ? (value as T) : fail(path, `one of ${allowed.join(', ')}`);
}

export function listOf<T>(item: Check<T>): Check<T[]> {
  return (value, path) =>
    Array.isArray(value) ? value.map((entry, index) => item(entry, `${path}[${index}]`)) : fail(path, 'a list');
}

export function mapOf<T>(item: Check<T>): Check<Record<string, T>> {
  return (value, path) =>
    Object.fromEntries(Object.entries(record(value, path)).map(([key, entry]) => [key, item(entry, `${path}.${key}`)]));
}

/** Unknown keys are dropped, not refused: a newer server may say more than this page knows. */
export function object<T extends Record<string, unknown>>(fields: { [K in keyof T]: Check<T[K]> }): Check<T> {
  const entries = Object.entries<Check<unknown>>(fields);
  return (value, path) => {
    const source = record(value, path);
    return Object.fromEntries(entries.map(([key, check]) => [key, check(source[key], `${path}.${key}`)])) as T;
  };
}

export function nullable<T>(item: Check<T>): Check<T | null> {
  return (value, path) => (value === null || value === undefined ? null : item(value, path));
}

function record(value: unknown, path: string): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : fail(path, 'an object');
}

export type LngLat = [lng: number, lat: number];

export const lngLat: Check<LngLat> = (value, path) => {
  if (!Array.isArray(value) || value.length !== 2) return fail(path, '[lng, lat]');
  const lng = num(value[0], `${path}[0]`);
  const lat = num(value[1], `${path}[1]`);
  // MapLibre throws on a latitude past the pole, and that would take the map down with it.
  return Math.abs(lng) <= 180 && Math.abs(lat) <= 90 ? [lng, lat] : fail(path, 'degrees in range');
};
