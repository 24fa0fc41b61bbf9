/** From a frame to what the map's sources hold. Pure, and few features: the map is fed four times a second. */
import { cellToBoundary, isValidCell } from 'h3-js';
import type { Feature, FeatureCollection, LineString, MultiPoint, Point, Polygon, Position } from 'geojson';

import { DRIVER_STATES, type DemandHex, type DriverPosition, type OfferLine, type TaskPoint } from '../frame';
import { LONG_WAIT_S } from '../vocabulary';

const NOT_TAKEN: ReadonlySet<string> = new Set(['OPEN', 'OFFERED']);

/** One MultiPoint a state instead of one feature a driver: thousands of drivers stay seven features. */
export function driverFeatures(positions: readonly DriverPosition[]): FeatureCollection<MultiPoint> {
  const byState: Position[][] = DRIVER_STATES.map(() => []);
  for (const [lng, lat, state] of positions) byState[state]?.push([lng, lat]);
  return collection(
    byState.map((coordinates, state) => feature({ type: 'MultiPoint', coordinates }, { state: DRIVER_STATES[state] })),
  );
}

export type TaskFeatures = {
  places: FeatureCollection<Point>;
  legs: FeatureCollection<LineString>;
};

export function taskFeatures(tasks: readonly TaskPoint[]): TaskFeatures {
  const places: Feature<Point>[] = [];
  const legs: Feature<LineString>[] = [];
  for (const task of tasks) {
    const returning = task.kind === 'RETURN';
    const waiting = NOT_TAKEN.has(task.status);
    places.push(
      feature(
        { type: 'Point', coordinates: task.pickup },
        { icon: returning ? 'return-pickup' : 'pickup', late: waiting && task.waited_s >= LONG_WAIT_S },
      ),
      feature(
        { type: 'Point', coordinates: task.dropoff },
        { icon: returning ? 'return-dropoff' : 'dropoff', late: false },
      ),
    );
    legs.push(feature({ type: 'LineString', coordinates: [task.pickup, task.dropoff] }, { returning }));
  }
  return { places: collection(places), legs: collection(legs) };
}

export function offerFeatures(offers: readonly OfferLine[]): FeatureCollection<LineString> {
  return collection(offers.map(({ id, from, to }) => feature({ type: 'LineString', coordinates: [from, to] }, { id })));
}

/** Where the light is that runs from each driver to the pickup; `phase` goes from 0 to 1. */
export function pulseFeatures(offers: readonly OfferLine[], phase: number): FeatureCollection<MultiPoint> {
  const coordinates = offers.map(({ from, to }) => [
    from[0] + (to[0] - from[0]) * phase,
    from[1] + (to[1] - from[1]) * phase,
  ]);
  return collection([feature({ type: 'MultiPoint', coordinates }, {})]);
}

/** The busiest hex sets the scale, but a lone order in a quiet hour must not glow like a rush. */
const QUIET_HOUR_COUNT = 6;

export function hexFeatures(hexes: readonly DemandHex[]): FeatureCollection<Polygon> {
  const busiest = hexes.reduce((most, { count }) => Math.max(most, count), QUIET_HOUR_COUNT);
  return collection(
    hexes
      .filter(({ h3, count }) => count > 0 && isValidCell(h3))
      .map(({ h3, count }) =>
        feature({ type: 'Polygon', coordinates: [hexRing(h3)] }, { heat: Math.log1p(count) / Math.log1p(busiest) }),
      ),
  );
}

/** The same few hundred hexes come back in every frame, and their shapes never change. */
const rings = new Map<string, Position[]>();

function hexRing(h3: string): Position[] {
  const known = rings.get(h3);
  if (known !== undefined) return known;
  const ring = cellToBoundary(h3, true);
  rings.set(h3, ring);
  return ring;
}

function feature<G extends Feature['geometry']>(geometry: G, properties: Record<string, unknown>): Feature<G> {
  return { type: 'Feature', geometry, properties };
}

function collection<G extends Feature['geometry']>(features: Feature<G>[]): FeatureCollection<G> {
  return { type: 'FeatureCollection', features };
}
