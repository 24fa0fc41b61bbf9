/** What the page knows, as a function of what the stream said. */
import type { OpsFrame } from './frame';
import type { StreamEvent } from './stream';

export type Connection = 'connecting' | 'live' | 'reconnecting' | 'restarting' | 'signed-out';

/** One point of the sparklines. */
export type Sample = {
  at_ms: number;
  delivered: number;
  lag_ms: number;
  step_ms_p99: number;
  solve_ms_last: number;
  append_ms_p99: number;
  inbox: number;
};

export type OpsState = {
  connection: Connection;
  detail: string | null;
  frame: OpsFrame | null;
  samples: readonly Sample[];
  malformed: number;
};

export type OpsEvent = StreamEvent | { type: 'reset' };

/** Two minutes at one sample a second: long enough to see a trend, short enough to redraw with every frame. */
export const SAMPLE_EVERY_MS = 1_000;
export const SAMPLES_KEPT = 120;

export const INITIAL_STATE: OpsState = {
  connection: 'connecting',
  detail: null,
  frame: null,
  samples: [],
  malformed: 0,
};

export function reduceOps(state: OpsState, event: OpsEvent): OpsState {
  switch (event.type) {
    case 'reset':
      return INITIAL_STATE;
    case 'opening':
      // A retry is not news: the pill keeps saying what went wrong until a frame says otherwise.
      return state.connection === 'signed-out' ? { ...state, connection: 'connecting', detail: null } : state;
    case 'frame':
      return {
        ...state,
        connection: 'live',
        detail: null,
        frame: event.frame,
        samples: addSample(state.samples, sampleOf(event.frame, event.at_ms)),
      };
    case 'malformed':
      return { ...state, malformed: state.malformed + 1 };
    case 'down':
      return { ...state, connection: 'restarting', detail: event.detail };
    case 'lost':
      return { ...state, connection: 'reconnecting', detail: event.detail };
    case 'refused':
      return {
        ...state,
        connection: 'signed-out',
        detail: event.status === 403 ? 'This account may not watch the region.' : null,
      };
  }
}

function sampleOf({ counters, health }: OpsFrame, at_ms: number): Sample {
  return {
    at_ms,
    delivered: counters.delivered,
    lag_ms: health.lag_ms,
    step_ms_p99: health.step_ms_p99,
    solve_ms_last: health.solve_ms_last,
    append_ms_p99: health.append_ms_p99,
    inbox: health.inbox,
  };
}

function addSample(samples: readonly Sample[], sample: Sample): readonly Sample[] {
  const last = samples.at(-1);
  if (last !== undefined && sample.at_ms - last.at_ms < SAMPLE_EVERY_MS) return samples;
  return [...samples.slice(1 - SAMPLES_KEPT), sample];
}
