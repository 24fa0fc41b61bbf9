/** When a health number stops being fine. Colours only: alerts belong to the server's metrics. */
import type { Health } from './frame';

export type HealthTone = 'plain' | 'warn' | 'bad';
type Limit = { warn: number; bad: number };

export const LIMITS = {
  lag_ms: { warn: 250, bad: 1_000 },
  step_ms_p99: { warn: 50, bad: 200 },
  // The loop promises never to wait longer than three seconds for a plan.
  solve_ms_last: { warn: 1_500, bad: 3_000 },
  append_ms_p99: { warn: 100, bad: 500 },
  inbox: { warn: 500, bad: 5_000 },
} satisfies Partial<Record<keyof Health, Limit>>;

export function toneFor(value: number | undefined, limit: Limit): HealthTone {
  if (value === undefined || value < limit.warn) return 'plain';
  return value < limit.bad ? 'warn' : 'bad';
}
