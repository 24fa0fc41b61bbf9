import type { OpsFrame } from '../src/frame';

/** A small whole frame; a test changes the part it is about. */
export function aFrame(changes: Partial<OpsFrame> = {}): OpsFrame {
  return {
    region_id: 'tx-dfw',
    now_ms: 1_700_000_000_000,
    speed: 30,
    epoch: 4,
    drivers: {
      counts: { free: 1, offered: 1, to_pickup: 0, to_dropoff: 0, returning: 0, stale: 0, off: 0 },
      positions: [
        [-96.8, 32.78, 0],
        [-96.9, 32.8, 1],
      ],
      total: 2,
    },
    tasks: {
      counts: { OPEN: 1 },
      waiting: { NO_DRIVER: 1 },
      points: [
        { id: 't1', kind: 'DELIVERY', status: 'OPEN', pickup: [-96.8, 32.8], dropoff: [-96.7, 32.9], waited_s: 5 },
      ],
    },
    offers: [{ id: 'o1', from: [-96.9, 32.8], to: [-96.8, 32.8], expires_in_s: 12 }],
    hexes: [{ h3: '8726cb921ffffff', count: 3 }],
    counters: {
      orders: 10,
      delivered: 7,
      refused: 1,
      returned: 1,
      cancelled: 1,
      offers_made: 12,
      offers_accepted: 9,
      offers_rejected: 2,
      offers_expired: 1,
      offers_revoked: 0,
    },
    decisions: [{ at_ms: 1_700_000_000_000, text: 'Delivered ord-1' }],
    health: {
      lag_ms: 12,
      step_ms_p50: 0.4,
      step_ms_p99: 2,
      solve_ms_last: 30,
      solve_count: 5,
      append_ms_p50: 3,
      append_ms_p99: 9,
      inbox: 2,
    },
    ...changes,
  };
}
