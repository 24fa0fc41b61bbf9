/** What the gateway streams to mission control: the types and the guard that stands between the wire and the page. */
import { ShapeError, listOf, lngLat, mapOf, num, object, oneOf, text, type Check, type LngLat } from '@doorstep/api';

/** In wire order: a position names its state by its index here. */
export const DRIVER_STATES = ['free', 'offered', 'to_pickup', 'to_dropoff', 'returning', 'stale', 'off'] as const;
export type DriverState = (typeof DRIVER_STATES)[number];

export type DriverPosition = [lng: number, lat: number, state: number];

export type TaskPoint = {
  id: string;
  kind: 'DELIVERY' | 'RETURN';
  status: string;
  pickup: LngLat;
  dropoff: LngLat;
  waited_s: number;
};

export type OfferLine = { id: string; from: LngLat; to: LngLat; expires_in_s: number };

export type DemandHex = { h3: string; count: number };

export type Decision = { at_ms: number; text: string };

export type Counters = {
  orders: number;
  delivered: number;
  refused: number;
  returned: number;
  cancelled: number;
  offers_made: number;
  offers_accepted: number;
  offers_rejected: number;
  offers_expired: number;
  offers_revoked: number;
};

export type Health = {
  lag_ms: number;
  step_ms_p50: number;
  step_ms_p99: number;
  solve_ms_last: number;
  solve_count: number;
  append_ms_p50: number;
  append_ms_p99: number;
  inbox: number;
};

export type OpsFrame = {
  region_id: string;
  now_ms: number;
  speed: number;
  epoch: number;
  drivers: { counts: Record<DriverState, number>; positions: DriverPosition[]; total: number };
  /** `waiting`: open tasks by why nobody is offered them. */
  tasks: { counts: Record<string, number>; waiting: Record<string, number>; points: TaskPoint[] };
  offers: OfferLine[];
  hexes: DemandHex[];
  counters: Counters;
  decisions: Decision[];
  health: Health;
};

const position: Check<DriverPosition> = (value, path) => {
  if (!Array.isArray(value) || value.length !== 3) throw new ShapeError(`${path}: expected [lng, lat, state]`);
  const [lng, lat] = lngLat([value[0], value[1]], path);
  const state = num(value[2], `${path}[2]`);
  if (!(state in DRIVER_STATES)) throw new ShapeError(`${path}[2]: no driver state ${state}`);
  return [lng, lat, state];
};

const checkFrame = object<OpsFrame>({
  region_id: text,
  now_ms: num,
  speed: num,
  epoch: num,
  drivers: object<OpsFrame['drivers']>({
    counts: object<Record<DriverState, number>>({
      free: num,
      offered: num,
      to_pickup: num,
      to_dropoff: num,
      returning: num,
      stale: num,
      off: num,
    }),
    positions: listOf(position),
    total: num,
  }),
  tasks: object<OpsFrame['tasks']>({
    counts: mapOf(num),
    waiting: mapOf(num),
    points: listOf(
      object<TaskPoint>({
        id: text,
        kind: oneOf('DELIVERY', 'RETURN'),
        status: text,
        pickup: lngLat,
        dropoff: lngLat,
        waited_s: num,
      }),
    ),
  }),
  offers: listOf(object<OfferLine>({ id: text, from: lngLat, to: lngLat, expires_in_s: num })),
  hexes: listOf(object<DemandHex>({ h3: text, count: num })),
  counters: object<Counters>({
    orders: num,
    delivered: num,
    refused: num,
    returned: num,
    cancelled: num,
    offers_made: num,
    offers_accepted: num,
    offers_rejected: num,
    offers_expired: num,
    offers_revoked: num,
  }),
  decisions: listOf(object<Decision>({ at_ms: num, text })),
  health: object<Health>({
    lag_ms: num,
    step_ms_p50: num,
    step_ms_p99: num,
    solve_ms_last: num,
    solve_count: num,
    append_ms_p50: num,
    append_ms_p99: num,
    inbox: num,
  }),
});

export type ParsedFrame = { ok: true; frame: OpsFrame } | { ok: false; reason: string };

/** A malformed frame is an answer, not an exception: the page skips it, counts it and waits for the next one. */
export function parseFrame(data: string): ParsedFrame {
  try {
    return { ok: true, frame: checkFrame(JSON.parse(data), 'frame') };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
