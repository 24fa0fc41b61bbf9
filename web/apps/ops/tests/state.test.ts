import { describe, expect, test } from 'vitest';

import { INITIAL_STATE, SAMPLES_KEPT, SAMPLE_EVERY_MS, reduceOps, type OpsEvent, type OpsState } from '../src/state';
import { aFrame } from './fixtures';

function after(...events: OpsEvent[]): OpsState {
  return events.reduce(reduceOps, INITIAL_STATE);
}

function frameAt(at_ms: number): OpsEvent {
  return { type: 'frame', frame: aFrame(), at_ms };
}

describe('reduceOps', () => {
  test('a frame makes the page live', () => {
    expect(after({ type: 'opening' }, frameAt(0))).toMatchObject({ connection: 'live', frame: aFrame(), detail: null });
  });

  test('a lost stream keeps the last picture, through the retries, until a frame comes', () => {
    const lost = after(frameAt(0), { type: 'lost', detail: 'gone' }, { type: 'opening' });
    expect(lost).toMatchObject({ connection: 'reconnecting', detail: 'gone', frame: aFrame() });
    expect(reduceOps(lost, frameAt(9))).toMatchObject({ connection: 'live', detail: null });
  });

  test('a region that is down says why and keeps the last picture', () => {
    const down = after(frameAt(0), { type: 'down', detail: 'restoring' });
    expect(down).toMatchObject({ connection: 'restarting', detail: 'restoring', frame: aFrame() });
  });

  test('a malformed frame changes a count and nothing else', () => {
    const before = after(frameAt(0));
    expect(reduceOps(before, { type: 'malformed', reason: 'x' })).toEqual({ ...before, malformed: 1 });
  });

  test('a refusal asks for a sign-in, and signing in starts anew', () => {
    const refused = after({ type: 'refused', status: 401 });
    expect(refused).toMatchObject({ connection: 'signed-out', detail: null });
    expect(reduceOps(refused, { type: 'opening' }).connection).toBe('connecting');
    expect(after({ type: 'refused', status: 403 }).detail).toMatch(/may not/);
  });

  test('samples are taken once a second and the oldest go', () => {
    expect(after(frameAt(0), frameAt(250), frameAt(SAMPLE_EVERY_MS)).samples.map(({ at_ms }) => at_ms)).toEqual([
      0,
      SAMPLE_EVERY_MS,
    ]);
    const many = after(...Array.from({ length: SAMPLES_KEPT + 5 }, (_, n) => frameAt(n * SAMPLE_EVERY_MS)));
    expect(many.samples).toHaveLength(SAMPLES_KEPT);
    expect(many.samples[0]?.at_ms).toBe(5 * SAMPLE_EVERY_MS);
  });

  test('another region starts with a clean page', () => {
    expect(after(frameAt(0), { type: 'reset' })).toEqual(INITIAL_STATE);
  });
});
