import { describe, expect, test } from 'vitest';

import { feedLines, toneOf } from '../src/decisions';
import { LIMITS, toneFor } from '../src/limits';
import { downDetail } from '../src/stream';
import { taskRows, waitingRows } from '../src/vocabulary';

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

test('the stream says why a region is down, also when the server does not', () => {
  expect(downDetail('{"detail":"restoring"}')).toBe('restoring');
  expect(downDetail('oops')).toBe('the region is unavailable');
});
