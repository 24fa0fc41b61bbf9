import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { backoffMs, follow, type Following } from '../src/index';

function streamOf(text: string): Response {
  return new Response(text, { headers: { 'content-type': 'text/event-stream' } });
}

const NEWS = 'event: news\ndata: 1\n\n';

test('backs off to ten seconds and never below half of a step', () => {
  expect(backoffMs(0, 0)).toBe(250);
  expect(backoffMs(0, 1)).toBe(500);
  expect(backoffMs(3, 1)).toBe(4_000);
  expect(backoffMs(99, 1)).toBe(10_000);
});

describe('follow', () => {
  const fetch = vi.fn<typeof globalThis.fetch>();

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('fetch', fetch);
  });

  afterEach(() => {
    fetch.mockReset();
    vi.unstubAllGlobals();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  function following(token: string | null) {
    const said: Following[] = [];
    const abort = new AbortController();
    const done = follow('/v1/x', 'news', token, abort.signal, (what) => said.push(what));
    return { said, kinds: () => said.map(({ type }) => type), abort, done };
  }

  test('delivers events, and after the end of a stream opens another', async () => {
    fetch.mockResolvedValueOnce(streamOf(`${NEWS}: keep-alive\n\nevent: other\ndata: 2\n\n`));
    fetch.mockRejectedValueOnce(new TypeError('network'));
    fetch.mockReturnValue(new Promise(() => {}));
    const { said, kinds, abort } = following(null);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(kinds()).toEqual(['opening', 'event', 'event', 'lost', 'opening', 'lost', 'opening']);
    expect(said).toContainEqual({ type: 'event', event: { event: 'other', data: '2' } });
    expect(said).toContainEqual({ type: 'lost', detail: 'the server cannot be reached' });
    abort.abort();
  });

  test('waits longer from loss to loss, until the stream has done what it is for', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    fetch.mockImplementation(async () => streamOf('event: other\ndata: 1\n\n'));
    const { abort } = following(null);
    await vi.advanceTimersByTimeAsync(500 + 1_000);
    expect(fetch).toHaveBeenCalledTimes(3);
    fetch.mockImplementation(async () => streamOf(NEWS));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(fetch).toHaveBeenCalledTimes(4);
    await vi.advanceTimersByTimeAsync(500);
    expect(fetch).toHaveBeenCalledTimes(5);
    abort.abort();
  });

  test('sends the token, and stops at a refusal', async () => {
    fetch.mockResolvedValueOnce(new Response(null, { status: 401 }));
    const { said, done } = following('secret');
    await done;
    expect(said.at(-1)).toEqual({ type: 'refused', status: 401 });
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
    const { said, abort } = following(null);
    await vi.advanceTimersByTimeAsync(21_000);
    expect(said).toContainEqual({ type: 'lost', detail: 'the stream fell silent' });
    abort.abort();
  });

  test('says nothing more once nobody listens', async () => {
    fetch.mockResolvedValueOnce(streamOf(NEWS));
    const { kinds, abort, done } = following(null);
    abort.abort();
    await vi.advanceTimersByTimeAsync(10_000);
    await done;
    expect(kinds()).not.toContain('lost');
  });
});
