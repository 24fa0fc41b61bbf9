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
    const done = followStream('tx-dfw', token, abort.signal, (event) => events.push(event));
    return { events, kinds: () => events.map(({ type }) => type), abort, done };
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

  test('sends the token, and stops at a refusal', async () => {
    fetch.mockResolvedValueOnce(new Response(null, { status: 401 }));
    const { events, done } = follow('secret');
    await done;
    expect(events.at(-1)).toEqual({ type: 'refused', status: 401 });
    expect(fetch.mock.calls[0]?.[1]?.headers).toMatchObject({ authorization: 'Bearer secret' });
  });

  test('gives up a stream that has fallen silent', async () => {
    fetch.mockImplementationOnce(async (_, init) => {
      const body = new ReadableStream({
        start(controller) {
          init?.signal?.addEventListener('abort', () => controller.error(init.signal?.reason));
        },
      });
      return new Response(body);
    });
    fetch.mockReturnValue(new Promise(() => {}));
    const { events, abort } = follow(null);
    await vi.advanceTimersByTimeAsync(21_000);
    expect(events).toContainEqual({ type: 'lost', detail: 'the stream fell silent' });
    abort.abort();
  });

  test('says nothing more once nobody listens', async () => {
    fetch.mockResolvedValueOnce(streamOf(FRAME));
    const { kinds, abort, done } = follow(null);
    abort.abort();
    await vi.advanceTimersByTimeAsync(10_000);
    await done;
    expect(kinds()).not.toContain('lost');
  });
});
