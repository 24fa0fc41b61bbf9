/** The words and colours of the page. The map and the panels both read them here, so a colour means one thing. */
import { words } from '@doorstep/format';

import type { DriverState } from './frame';

export const DRIVER_LOOK: Record<DriverState, { label: string; color: string }> = {
  free: { label: 'Free', color: '#45d6b5' },
  offered: { label: 'Offered', color: '#ffb454' },
  to_pickup: { label: 'To pickup', color: '#5fb0ff' },
  to_dropoff: { label: 'To dropoff', color: '#b79bff' },
  returning: { label: 'Returning', color: '#ff7d6e' },
  stale: { label: 'Stale', color: '#8290a3' },
  off: { label: 'Off shift', color: '#4a5668' },
};

export const TASK_LOOK: Record<string, { label: string; color: string }> = {
  OPEN: { label: 'Open', color: '#f2f5f9' },
  OFFERED: { label: 'Offered', color: '#ffb454' },
  ASSIGNED: { label: 'Assigned', color: '#5fb0ff' },
  AT_PICKUP: { label: 'At pickup', color: '#3f8fe0' },
  PICKED_UP: { label: 'Picked up', color: '#b79bff' },
  AT_DROPOFF: { label: 'At dropoff', color: '#8f6ff0' },
};

/** Why an open task is offered to nobody (`domain/region/solving/reasons.py`). The last one should never be seen. */
export const WAITING_LABEL: Record<string, string> = {
  NO_DRIVER: 'no driver free',
  ALL_DECLINED: 'declined by all',
  OUTNUMBERED: 'others came first',
  UNSOLVED: 'no plan',
  LOOKING: 'looking',
  UNEXPLAINED: 'unexplained',
};

export type TermLook = { label: string; color: string };

/** The terms of the objective (`solver/terms/`), in the order in which they stand in a bar. */
export const TERM_LOOK: Record<string, TermLook> = {
  travel: { label: 'driving to the store', color: '#5fb0ff' },
  delay: { label: 'delay', color: '#ffb454' },
  lateness: { label: 'past the promise', color: '#ff7d6e' },
  risk: { label: 'risk of a return', color: '#b79bff' },
  fairness: { label: 'fairness', color: '#45d6b5' },
  zone: { label: 'zone', color: '#8fd14f' },
  retry_s: { label: 'asking again', color: '#8290a3' },
  declined: { label: 'declined before', color: '#c93f6d' },
};

/** Why a driver was no candidate (`solver/proposals.py`). */
export const PRUNED_LABEL: Record<string, string> = {
  dearer: 'dearer than these',
  too_far: 'too far away to be looked at',
  declined_lately: 'declined it lately',
  shift_ends: 'shift ends before',
  too_late: 'could not be there in time',
};

export const OFFER_COLOR = '#ffb454';
export const RETURN_COLOR = '#ff7d6e';
export const PLACE_COLOR = '#f2f5f9';
export const WAITING_COLOR = '#ff5c77';

/** Demand from little to much; far from every driver colour, so that a circle on a hex still reads. */
export const DEMAND_RAMP = ['#3a2447', '#7a2a63', '#c93f6d', '#ff8a66'] as const;

/** A task nobody has taken for this long gets a ring on the map. */
export const LONG_WAIT_S = 120;

export type TaskStatusRow = { status: string; label: string; color: string; count: number };

/** The known statuses in lifecycle order, then whatever else the server counts. */
export function taskRows(counts: Record<string, number>): TaskStatusRow[] {
  const known = Object.entries(TASK_LOOK).map(([status, look]) => ({ status, ...look, count: counts[status] ?? 0 }));
  const others = Object.entries(counts)
    .filter(([status]) => !(status in TASK_LOOK))
    .map(([status, n]) => ({ status, label: words(status), color: '#8290a3', count: n }));
  return [...known, ...others];
}

export type WaitingRow = { reason: string; label: string; count: number; tone: 'plain' | 'bad' };

/** The reasons that hold for any open task now: the known ones in their order, then whatever else the server names. */
export function waitingRows(waiting: Record<string, number>): WaitingRow[] {
  const reasons = new Set([...Object.keys(WAITING_LABEL), ...Object.keys(waiting)]);
  return [...reasons].flatMap((reason) => {
    const n = waiting[reason] ?? 0;
    const label = WAITING_LABEL[reason] ?? words(reason);
    return n ? [{ reason, label, count: n, tone: reason === 'UNEXPLAINED' ? 'bad' : 'plain' }] : [];
  });
}
