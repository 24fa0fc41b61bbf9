import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { followStream, type StreamEvent } from '../src/stream';
import { aFrame } from './fixtures';

function streamOf(text: string): Response {
  return new Response(text, { headers: { 'content-type': 'text/event-stream' } });
}

const FRAME = `event: frame\ndata: ${JSON.stringify(aFrame())}\n\n`;

describe('followStream', () => {
  const fetch = vi.fn<typeof globalThis.fetch>();

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('fetch', fetch);
  });

  afterEach(() => {
    fetch.mockReset();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  function follow(token: string | null) {
    const events: StreamEvent[] = [];
    const abort = new AbortController();
    void followStream('tx-dfw', token, abort.signal, (event) => events.push(event));
    return { events, kinds: () => events.map(({ type }) => type), abort };
  }

  test('delivers frames, and after the end of a stream opens another', async () => {
    fetch.mockResolvedValueOnce(streamOf(`${FRAME}: keep-alive\n\nevent: down\ndata: {"detail":"restoring"}\n\n`));
    fetch.mockRejectedValueOnce(new TypeError('network'));
    fetch.mockResolvedValueOnce(streamOf(FRAME));
    fetch.mockReturnValue(new Promise(() => {}));
    const { events, kinds, abort } = follow(null);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(events).toContainEqual({ type: 'lost', detail: 'the server cannot be reached' });
    expect(kinds()).toEqual(['opening', 'frame', 'down', 'lost', 'opening', 'lost', 'opening', 'frame', 'lost', 'opening']);
    abort.abort();
  });

  test('a malformed frame does not end the stream', async () => {
    fetch.mockResolvedValueOnce(streamOf(`event: frame\ndata: {}\n\n${FRAME}`));
    const { kinds, abort } = follow(null);
    await vi.advanceTimersByTimeAsync(0);
    expect(kinds().slice(0, 3)).toEqual(['opening', 'malformed', 'frame']);
    abort.abort();
  });

  test('a refusal comes through', async () => {
    fetch.mockResolvedValueOnce(new Response(null, { status: 403 }));
    const { kinds, abort } = follow('secret');
    await vi.advanceTimersByTimeAsync(0);
    expect(kinds()).toEqual(['opening', 'refused']);
    abort.abort();
  });
});
