import { describe, expect, test } from 'vitest';

import { feedLines, toneOf } from '../src/decisions';
import { clock, count, millis, plural, share, speed } from '../src/format';
import { LIMITS, toneFor } from '../src/limits';
import { sparkPath } from '../src/sparkPath';
import { backoffMs, downDetail } from '../src/stream';
import { taskRows, waitingRows } from '../src/vocabulary';

describe('formats', () => {
  test.each([
    [undefined, '–'],
    [0, '0.0 ms'],
    [0.421, '0.42 ms'],
    [8.14, '8.1 ms'],
    [214.4, '214 ms'],
    [1_254, '1.25 s'],
    [12_540, '12.5 s'],
  ])('millis(%s) is %s', (value, text) => expect(millis(value)).toBe(text));

  test('counts, shares, speeds, plurals and the clock', () => {
    expect(count(12_345)).toBe('12,345');
    expect(count(undefined)).toBe('–');
    expect(share(3, 4)).toBe('75.0%');
    expect(share(0, 0)).toBe('–');
    expect(speed(30)).toBe('×30');
    expect(speed(1.5)).toBe('×1.5');
    expect(plural(1, 'driver')).toBe('1 driver');
    expect(plural(2, 'driver')).toBe('2 drivers');
    expect(clock(1_700_000_000_000, 'UTC')).toBe('22:13:20');
  });
});

test('health tones change at their limits', () => {
  expect(toneFor(undefined, LIMITS.lag_ms)).toBe('plain');
  expect(toneFor(249, LIMITS.lag_ms)).toBe('plain');
  expect(toneFor(250, LIMITS.lag_ms)).toBe('warn');
  expect(toneFor(1_000, LIMITS.lag_ms)).toBe('bad');
});

test('task statuses come in lifecycle order, unknown ones last', () => {
  const rows = taskRows({ ON_HOLD: 2, AT_DROPOFF: 1, OPEN: 3 });
  expect(rows.map(({ status }) => status)).toEqual([
    'OPEN',
    'OFFERED',
    'ASSIGNED',
    'AT_PICKUP',
    'PICKED_UP',
    'AT_DROPOFF',
    'ON_HOLD',
  ]);
  expect(rows.at(-1)).toMatchObject({ label: 'on hold', count: 2 });
});

test('only reasons that hold are named, a bug in red and unknown ones last', () => {
  const rows = waitingRows({ RAIN_DELAY: 1, UNEXPLAINED: 2, NO_DRIVER: 3, LOOKING: 0 });
  expect(rows.map(({ label, count: n, tone }) => [label, n, tone])).toEqual([
    ['no driver free', 3, 'plain'],
    ['unexplained', 2, 'bad'],
    ['rain delay', 1, 'plain'],
  ]);
});

describe('decisions', () => {
  test('a line keeps its key when newer ones arrive above it, even beside its twin', () => {
    const old = { at_ms: 1, text: 'same' };
    const before = feedLines([old, old]);
    const after = feedLines([old, old, old]);
    expect(new Set(after.map(({ key }) => key)).size).toBe(3);
    expect(after.slice(1).map(({ key }) => key)).toEqual(before.map(({ key }) => key));
  });

  test.each([
    ['Delivered ord-1', 'good'],
    ['Delivery of ord-1 refused: ID expired', 'bad'],
    ['Driver d accepted ord-1', 'good'],
    ['Offer of ord-1 expired', 'bad'],
    ['Driver d is lost, not heard of for 10 min: looking for another for task t', 'bad'],
    ['Offer of ord-1 to d', 'offer'],
    ['Region opened', 'plain'],
  ])('%s is %s', (text, tone) => expect(toneOf(text)).toBe(tone));
});

describe('sparkPath', () => {
  test('needs two values', () => expect(sparkPath([1], 120, 28)).toBeNull());

  test('ends at the right edge and keeps within its box', () => {
    const { line } = sparkPath([0, 5, 2], 120, 28) ?? { line: '' };
    const points = line.slice(1).split('L').map((point) => point.split(' ').map(Number));
    expect(points.at(-1)?.[0]).toBe(120);
    for (const [, y = -1] of points) expect(y).toBeGreaterThanOrEqual(0);
  });

  test('a flat line is a line', () => expect(sparkPath([0, 0], 120, 28)?.line).not.toContain('NaN'));
});

describe('the stream', () => {
  test('backs off to ten seconds and never below half of a step', () => {
    expect(backoffMs(0, 0)).toBe(250);
    expect(backoffMs(0, 1)).toBe(500);
    expect(backoffMs(3, 1)).toBe(4_000);
    expect(backoffMs(99, 1)).toBe(10_000);
  });

  test('says why a region is down, also when the server does not', () => {
    expect(downDetail('{"detail":"restoring"}')).toBe('restoring');
    expect(downDetail('oops')).toBe('the region is unavailable');
  });
});
