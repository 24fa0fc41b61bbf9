import { describe, expect, test } from 'vitest';

import { clock, count, millis, plural, share, speed, words } from '../src/index';

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

  test('counts, shares, speeds, plurals, words and the clock', () => {
    expect(count(12_345)).toBe('12,345');
    expect(count(undefined)).toBe('–');
    expect(share(3, 4)).toBe('75.0%');
    expect(share(0, 0)).toBe('–');
    expect(speed(30)).toBe('×30');
    expect(speed(1.5)).toBe('×1.5');
    expect(plural(1, 'driver')).toBe('1 driver');
    expect(plural(2, 'driver')).toBe('2 drivers');
    expect(words('ALL_DECLINED')).toBe('all declined');
    expect(clock(1_700_000_000_000, 'UTC')).toBe('22:13:20');
  });
});
