/** Follows one stream for as long as it is wanted: connect, read, and on any loss back off and try again. */
import { SseParser, type ServerEvent } from './sse';

export type Following =
  | { type: 'opening' }
  | { type: 'event'; event: ServerEvent }
  | { type: 'lost'; detail: string }
  | { type: 'refused'; status: 401 | 403 };

/** Keep-alive comments come well within this; a socket silent for longer is dead even if nobody closed it. */
const SILENCE_LIMIT_MS = 20_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 10_000;

/** Half fixed, half random: many screens must not return to a restarted gateway in the same instant. */
export function backoffMs(attempt: number, random: number): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt);
  return ceiling / 2 + (ceiling / 2) * random;
}

/** `well`: the event that says that the stream does what it is for; after it a loss is waited out from the start. */
export async function follow(
  path: string,
  well: string,
  token: string | null,
  signal: AbortSignal,
  emit: (what: Following) => void,
): Promise<void> {
  let attempt = 0;
  while (!signal.aborted) {
    emit({ type: 'opening' });
    const attemptAbort = new AbortController();
    const attemptSignal = AbortSignal.any([signal, attemptAbort.signal]);
    let detail = 'the server closed the stream';
    try {
      const response = await fetch(path, {
        signal: attemptSignal,
        cache: 'no-store',
        headers: {
          accept: 'text/event-stream',
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        },
      });
      if (response.status === 401 || response.status === 403) {
        emit({ type: 'refused', status: response.status });
        return;
      }
      if (!response.ok || response.body === null) throw new Error(`the server answered ${response.status}`);
      for await (const event of readEvents(response.body, () => attemptAbort.abort(new Error('the stream fell silent')))) {
        if (event.event === well) attempt = 0;
        emit({ type: 'event', event });
      }
    } catch (error) {
      if (signal.aborted) return;
      detail = lossDetail(error);
    } finally {
      attemptAbort.abort();
    }
    if (signal.aborted) return;
    emit({ type: 'lost', detail });
    await pause(backoffMs(attempt++, Math.random()), signal);
  }
}

function lossDetail(error: unknown): string {
  // Browsers put every network failure into a TypeError, each in words of its own.
  if (error instanceof TypeError) return 'the server cannot be reached';
  return error instanceof Error ? error.message : String(error);
}

async function* readEvents(body: ReadableStream<Uint8Array>, onSilence: () => void): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  for (;;) {
    const silence = setTimeout(onSilence, SILENCE_LIMIT_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(silence));
    if (done) return;
    yield* parser.push(decoder.decode(value, { stream: true }));
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
