import { describe, expect, test } from 'vitest';

import { parseFrame } from '../src/frame';
import { aFrame } from './fixtures';

function parse(value: unknown) {
  return parseFrame(JSON.stringify(value));
}

describe('parseFrame', () => {
  test('a whole frame comes through unchanged', () => {
    expect(parse(aFrame())).toEqual({ ok: true, frame: aFrame() });
  });

  test('what a newer server adds is dropped', () => {
    expect(parse({ ...aFrame(), weather: 'hail' })).toEqual({ ok: true, frame: aFrame() });
  });

  test('a reason to wait this page does not know is kept', () => {
    const frame = aFrame({ tasks: { counts: { OPEN: 2 }, waiting: { RAIN: 2 }, points: [] } });
    expect(parse(frame)).toEqual({ ok: true, frame });
  });

  test('a task status this page does not know is kept', () => {
    const frame = aFrame({ tasks: { counts: { ON_HOLD: 2 }, waiting: {}, points: [] } });
    expect(parse(frame)).toEqual({ ok: true, frame });
  });

  test.each([
    ['not JSON', 'frame', '{"region_id":'],
    ['not an object', 'frame: expected an object', '[]'],
    ['NaN, as Python would write it', 'NaN', JSON.stringify(aFrame()).replace('"lag_ms":12', '"lag_ms":NaN')],
  ])('%s is refused', (_, reason, data) => {
    const parsed = parseFrame(data);
    expect(parsed.ok).toBe(false);
    if (reason !== 'frame') expect(parsed).toMatchObject({ reason: expect.stringContaining(reason) });
  });

  test.each<[string, (frame: ReturnType<typeof aFrame>) => unknown]>([
    ['frame.epoch', (frame) => ({ ...frame, epoch: '4' })],
    ['frame.counters.delivered', (frame) => ({ ...frame, counters: { ...frame.counters, delivered: undefined } })],
    ['frame.drivers.positions[0][2]', (frame) => ({ ...frame, drivers: { ...frame.drivers, positions: [[0, 0, 7]] } })],
    ['frame.drivers.positions[0]', (frame) => ({ ...frame, drivers: { ...frame.drivers, positions: [[0, 0]] } })],
    ['frame.drivers.counts.offered', (frame) => ({ ...frame, drivers: { ...frame.drivers, counts: { free: 1 } } })],
    ['frame.offers[0].to', (frame) => ({ ...frame, offers: [{ id: 'o', from: [0, 0], to: [0, 91], expires_in_s: 1 }] })],
    ['frame.tasks.points[0].kind', (frame) => ({ ...frame, tasks: { counts: {}, waiting: {}, points: [{ id: 't', kind: 'GIFT' }] } })],
    ['frame.tasks.waiting', (frame) => ({ ...frame, tasks: { counts: {}, points: [] } })],
    ['frame.decisions', (frame) => ({ ...frame, decisions: null })],
  ])('a wrong %s is refused by name', (path, spoil) => {
    const parsed = parse(spoil(aFrame()));
    expect(parsed).toMatchObject({ ok: false, reason: expect.stringContaining(path) });
  });
});
