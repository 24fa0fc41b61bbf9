import { describe, expect, test } from 'vitest';

import { sparkPath } from '../src/sparkPath';

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
