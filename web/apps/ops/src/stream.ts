/** What the stream of one region says, in the page's own terms. */
import { follow, type Following, type ServerEvent } from '@doorstep/live';

import { parseFrame, type OpsFrame } from './frame';

export type StreamEvent =
  | Exclude<Following, { type: 'event' }>
  | { type: 'frame'; frame: OpsFrame; at_ms: number }
  | { type: 'malformed'; reason: string }
  | { type: 'down'; detail: string };

export function followStream(
  regionId: string,
  token: string | null,
  signal: AbortSignal,
  emit: (event: StreamEvent) => void,
): Promise<void> {
  return follow(`/v1/ops/stream?region_id=${encodeURIComponent(regionId)}`, 'frame', token, signal, (what) => {
    if (what.type === 'event') deliver(what.event, emit);
    else emit(what);
  });
}

function deliver(event: ServerEvent, emit: (event: StreamEvent) => void): void {
  if (event.event === 'frame') {
    const parsed = parseFrame(event.data);
    emit(
      parsed.ok
        ? { type: 'frame', frame: parsed.frame, at_ms: Date.now() }
        : { type: 'malformed', reason: parsed.reason },
    );
  } else if (event.event === 'down') {
    emit({ type: 'down', detail: downDetail(event.data) });
  }
}

export function downDetail(data: string): string {
  try {
    const { detail } = JSON.parse(data) as { detail?: unknown };
    if (typeof detail === 'string' && detail !== '') return detail;
  } catch {
    // The event itself is the news; its text is only a courtesy.
  }
  return 'the region is unavailable';
}
