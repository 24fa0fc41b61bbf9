import { cellToBoundary } from 'h3-js';
import { describe, expect, test } from 'vitest';

import { driverFeatures, hexFeatures, pulseFeatures, taskFeatures } from '../src/map/features';
import { LONG_WAIT_S } from '../src/vocabulary';
import { aFrame } from './fixtures';

const CELL = '8726cb921ffffff';

describe('hexFeatures', () => {
  test('an index becomes its closed boundary, longitude first', () => {
    const [hex] = hexFeatures([{ h3: CELL, count: 2 }]).features;
    const [ring = []] = hex?.geometry.coordinates ?? [];
    expect(ring).toEqual(cellToBoundary(CELL, true));
    expect(ring).toHaveLength(7);
    expect(ring[0]).toEqual(ring.at(-1));
    for (const [lng = 0, lat = 0] of ring) {
      expect(lng).toBeLessThan(-90);
      expect(lat).toBeGreaterThan(30);
    }
  });

  test('what is no index, or holds nothing, is left out', () => {
    const features = hexFeatures([
      { h3: 'nonsense', count: 4 },
      { h3: CELL, count: 0 },
    ]).features;
    expect(features).toEqual([]);
  });

  test('heat goes from 0 to 1, and a lone order in a quiet hour stays cool', () => {
    const heat = (counts: number[]) =>
      hexFeatures(counts.map((count) => ({ h3: CELL, count }))).features.map(({ properties }) => properties?.heat);
    expect(heat([40])).toEqual([1]);
    expect(heat([1])[0]).toBeLessThan(0.5);
    const [busy, calm] = heat([40, 3]);
    expect(calm).toBeLessThan(busy);
  });
});

describe('driverFeatures', () => {
  test('is one feature a state, however many drivers', () => {
    const { features } = driverFeatures(Array.from({ length: 500 }, (_, n) => [-96 - n / 1e4, 32, n % 2]));
    expect(features).toHaveLength(7);
    expect(features.map(({ properties }) => properties?.state).slice(0, 2)).toEqual(['free', 'offered']);
    expect(features[0]?.geometry.coordinates).toHaveLength(250);
  });
});

describe('taskFeatures', () => {
  const [task] = aFrame().tasks.points;
  if (task === undefined) throw new Error('the fixture has a task');
  const lates = (changes: Partial<typeof task>) =>
    taskFeatures([{ ...task, ...changes }]).places.features.map(({ properties }) => properties?.late);

  test('a ring marks the pickup of a task that nobody took for long', () => {
    expect(lates({ waited_s: LONG_WAIT_S })).toEqual([true, false]);
    expect(lates({ waited_s: LONG_WAIT_S - 1 })).toEqual([false, false]);
    expect(lates({ waited_s: 9_999, status: 'ASSIGNED' })).toEqual([false, false]);
  });

  test('a return looks like one', () => {
    const { places, legs } = taskFeatures([{ ...task, kind: 'RETURN' }]);
    expect(places.features.map(({ properties }) => properties?.icon)).toEqual(['return-pickup', 'return-dropoff']);
    expect(legs.features[0]?.properties).toEqual({ returning: true });
  });
});

test('the light on an offer line starts at the driver and ends at the pickup', () => {
  const { offers } = aFrame();
  const at = (phase: number) => pulseFeatures(offers, phase).features[0]?.geometry.coordinates[0];
  expect(at(0)).toEqual(offers[0]?.from);
  expect(at(1)?.[0]).toBeCloseTo(-96.8, 9);
});
